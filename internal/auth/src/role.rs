use std::fmt;

use palinode_pb::auth::v1 as pb;
use serde::{Deserialize, Serialize};

/// What a user is trusted with. None of them contains another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Orders, and pays.
    Customer,
    /// Packs and sends parcels, and answers customers.
    Staff,
    /// Looks after sagas.
    Operator,
    /// Looks after users, prices, stock and money.
    Admin,
    /// A service of the platform, not a person.
    Service,
}

/// Text or number that is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no role: customer, staff, operator, admin, service")]
pub struct UnknownRole(String);

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [
        Self::Customer,
        Self::Staff,
        Self::Operator,
        Self::Admin,
        Self::Service,
    ];

    /// The name in tokens and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Staff => "staff",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Service => "service",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Role {
    type Err = UnknownRole;

    fn from_str(name: &str) -> Result<Self, UnknownRole> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == name)
            .ok_or_else(|| UnknownRole(name.chars().take(64).collect()))
    }
}

impl From<Role> for pb::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Customer => Self::Customer,
            Role::Staff => Self::Staff,
            Role::Operator => Self::Operator,
            Role::Admin => Self::Admin,
            Role::Service => Self::Service,
        }
    }
}

impl TryFrom<i32> for Role {
    type Error = UnknownRole;

    /// Reads a role of a message.
    fn try_from(number: i32) -> Result<Self, UnknownRole> {
        Self::ALL
            .into_iter()
            .find(|role| i32::from(pb::Role::from(*role)) == number)
            .ok_or_else(|| UnknownRole(number.to_string()))
    }
}
