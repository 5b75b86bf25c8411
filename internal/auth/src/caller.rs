use palinode_values::{Timestamp, UserId};
use uuid::Uuid;

use crate::Role;

/// Who a verified token speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// `sub`.
    pub subject: UserId,
    /// What he is trusted with.
    pub roles: Vec<Role>,
    /// `sid`: the session that the token was given to; a service has none.
    pub session: Option<Uuid>,
    /// `exp`.
    pub expires_at: Timestamp,
}

/// Somebody whom a method's rule has let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who.
    pub principal: Principal,
    /// Whether a role lets him see and change what is not his own.
    pub sees_all: bool,
}

impl Caller {
    /// A customer who is let in to what is his own, by the process itself and not by a token.
    #[must_use]
    pub fn customer(subject: UserId) -> Self {
        Self {
            principal: Principal {
                subject,
                roles: vec![Role::Customer],
                session: None,
                expires_at: Timestamp::MAX_UTC,
            },
            sees_all: false,
        }
    }

    /// The same one, let in to everything by a role.
    #[must_use]
    pub fn with(mut self, role: Role) -> Self {
        self.principal.roles.push(role);
        self.sees_all = true;
        self
    }

    /// Who calls.
    #[must_use]
    pub fn user(&self) -> &UserId {
        &self.principal.subject
    }

    /// Whether he may see and change what `owner` owns. What he may not see does not exist for him: the
    /// answer is "not found".
    #[must_use]
    pub fn may_see(&self, owner: &UserId) -> bool {
        self.sees_all || self.user() == owner
    }
}
