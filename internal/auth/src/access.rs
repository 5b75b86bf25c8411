use std::collections::BTreeMap;

use palinode_pb::auth::v1 as pb;
use prost_reflect::prost::Message as _;
use prost_reflect::{DescriptorPool, MethodDescriptor};

use crate::{Caller, Principal, Role};

const OPTION: &str = "palinode.auth.v1.access";

/// Who may call a method: `palinode.auth.v1.access` of the protos.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Everybody, and no token is looked at.
    pub anyone: bool,
    /// Every user, upon what is his own.
    pub owner: bool,
    /// Whoever has one of these, upon everything.
    pub roles: Vec<Role>,
}

/// Why a caller is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// Nobody has signed in.
    SignInRequired,
    /// He has none of the roles.
    RoleRequired,
}

impl Access {
    /// Lets a caller in, or not. `None`: the rule asks nobody who he is.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&self, principal: Option<&Principal>) -> Result<Option<Caller>, Denied> {
        if self.anyone {
            return Ok(None);
        }
        let principal = principal.ok_or(Denied::SignInRequired)?;
        let sees_all = principal.roles.iter().any(|role| self.roles.contains(role));
        let is_user = !principal.roles.contains(&Role::Service);
        if sees_all || (self.owner && is_user) {
            let principal = principal.clone();
            return Ok(Some(Caller {
                principal,
                sees_all,
            }));
        }
        Err(Denied::RoleRequired)
    }
}

/// Methods that do not say who may call them, or say it wrongly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("give each of these methods a rule, `option ({OPTION}) = …`: {}", .0.join(", "))]
pub struct Unruled(pub Vec<String>);

/// The rule of every method, by its path: `/palinode.order.v1.OrderService/GetOrder`.
#[derive(Debug, Clone)]
pub struct Rules(BTreeMap<String, Access>);

impl Rules {
    /// Reads the rules of all services in packages that begin with `palinode.`.
    ///
    /// # Errors
    /// Names the methods whose rule is missing, lets nobody in, or names an unknown role.
    pub fn of(pool: &DescriptorPool) -> Result<Self, Unruled> {
        let mut rules = BTreeMap::new();
        let mut wrong = Vec::new();
        let ours = pool
            .services()
            .filter(|service| service.package_name().starts_with("palinode."));
        for service in ours {
            for method in service.methods() {
                match access_of(pool, &method) {
                    Some(access) => {
                        let path = format!("/{}/{}", service.full_name(), method.name());
                        rules.insert(path, access);
                    }
                    None => wrong.push(method.full_name().to_owned()),
                }
            }
        }
        if wrong.is_empty() {
            Ok(Self(rules))
        } else {
            Err(Unruled(wrong))
        }
    }

    /// The rule of the method at a path.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Access> {
        self.0.get(path)
    }

    /// Paths and rules, in one order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Access)> {
        self.0.iter().map(|(path, access)| (path.as_str(), access))
    }
}

fn access_of(pool: &DescriptorPool, method: &MethodDescriptor) -> Option<Access> {
    let option = pool.get_extension_by_name(OPTION)?;
    let options = method.options();
    if !options.has_extension(&option) {
        return None;
    }
    let value = options.get_extension(&option);
    // the generated type reads the bytes of the dynamic one
    let access = pb::Access::decode(&*value.as_message()?.encode_to_vec()).ok()?;
    let roles = access.roles.iter().map(|number| Role::try_from(*number));
    let access = Access {
        anyone: access.anyone,
        owner: access.owner,
        roles: roles.collect::<Result<_, _>>().ok()?,
    };
    let says_something = access.anyone || access.owner || !access.roles.is_empty();
    let contradicts_itself = access.anyone && (access.owner || !access.roles.is_empty());
    (says_something && !contradicts_itself).then_some(access)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(roles: &[Role]) -> Principal {
        Principal {
            subject: "alice".parse().unwrap(),
            roles: roles.to_vec(),
            session: None,
            expires_at: "2026-11-21T12:00:00Z".parse().unwrap(),
        }
    }

    fn access(owner: bool, roles: &[Role]) -> Access {
        Access {
            anyone: false,
            owner,
            roles: roles.to_vec(),
        }
    }

    /// Where the table stands for readers; `WRITE_DOCS=1` writes it anew.
    const DOCUMENT: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/reference/access.md"
    );

    fn words(access: &Access) -> String {
        if access.anyone {
            return "everybody".to_owned();
        }
        let owner = access.owner.then_some("users, upon what is their own");
        let roles = access.roles.iter().map(|role| role.as_str());
        owner
            .into_iter()
            .chain(roles)
            .collect::<Vec<_>>()
            .join("; ")
    }

    #[test]
    fn the_table_in_the_documents_is_that_of_the_protos() {
        let rules = Rules::of(&palinode_pb::DESCRIPTORS).unwrap();
        let mut text = "# Who may call what\n\n\
            Written by a test from the protos (`WRITE_DOCS=1 cargo test -p palinode-auth access`); do not edit.\n\n\
            A role is upon everything, whoever it belongs to; no role contains another. A method without a rule \
            keeps every service from starting.\n\n\
            | method | who |\n|---|---|\n"
            .to_owned();
        for (path, access) in rules.iter() {
            text.push_str(&format!("| `{}` | {} |\n", &path[1..], words(access)));
        }
        if std::env::var_os("WRITE_DOCS").is_some() {
            std::fs::write(DOCUMENT, &text).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(DOCUMENT).unwrap_or_default(),
            text,
            "the rules have changed: run `WRITE_DOCS=1 cargo test -p palinode-auth access`"
        );
    }

    #[test]
    fn who_is_let_in_sees_his_own_or_everything() {
        let check = |access: &Access, roles: &[Role], expect: Result<bool, Denied>| {
            let admitted = access.admit(Some(&principal(roles)));
            let sees_all = admitted.map(|caller| caller.unwrap().sees_all);
            assert_eq!(sees_all, expect, "{access:?} {roles:?}");
        };
        let both = access(true, &[Role::Staff, Role::Admin]);
        check(&both, &[Role::Customer], Ok(false));
        check(&both, &[Role::Customer, Role::Staff], Ok(true));
        check(&both, &[], Ok(false));
        check(&both, &[Role::Service], Err(Denied::RoleRequired));
        let staff = access(false, &[Role::Staff]);
        check(&staff, &[Role::Customer], Err(Denied::RoleRequired));
        check(&staff, &[Role::Admin], Err(Denied::RoleRequired));
        check(&staff, &[Role::Staff], Ok(true));
        assert_eq!(both.admit(None), Err(Denied::SignInRequired));
        let anyone = Access {
            anyone: true,
            ..access(false, &[])
        };
        assert_eq!(anyone.admit(None), Ok(None));
    }
}
