use std::fmt;

use palinode_auth::Role;
use palinode_values::{Timestamp, UserId};

const PASSWORD_LEN_MIN: usize = 10;
const PASSWORD_LEN_MAX: usize = 128;
const USER_NAME_LEN_MIN: usize = 3;
const USER_NAME_LEN_MAX: usize = 32;
const EMAIL_LEN_MAX: usize = 254;

/// The commonest of those that are long enough (lists of leaked passwords).
const COMMON: [&str; 20] = [
    "1234567890",
    "0123456789",
    "0987654321",
    "1234512345",
    "1111111111",
    "0000000000",
    "qwertyuiop",
    "1q2w3e4r5t",
    "1qaz2wsx3edc",
    "q1w2e3r4t5",
    "qwerty123456",
    "password123",
    "password1234",
    "passwordpassword",
    "iloveyou123",
    "abcdefghij",
    "abcd123456",
    "administrator",
    "changeme123",
    "letmein123",
];

/// Somebody who can sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) id: UserId,
    pub(crate) email: String,
    pub(crate) user_name: String,
    pub(crate) first_name: String,
    pub(crate) last_name: String,
    /// Sorted; customer always.
    pub(crate) roles: Vec<Role>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// What is verified of an account, and what says that it has changed since.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Verified {
    pub(crate) account: Account,
    /// PHC string.
    pub(crate) password_hash: String,
    /// Of the password.
    pub(crate) password_version: i32,
}

/// A registration as it was asked for: valid in itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Registration {
    pub(crate) email: String,
    /// Lower case.
    pub(crate) user_name: String,
    pub(crate) password: Password,
    pub(crate) first_name: String,
    pub(crate) last_name: String,
}

/// A password in clear. It is hashed and forgotten.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Password(pub(crate) String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A user name: 3 to 32 characters of `a-z 0-9 . _ -`, whatever case it is given in.
pub(crate) fn check_user_name(text: &str) -> Result<String, &'static str> {
    let name = text.to_lowercase();
    let allowed = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-');
    let fits = (USER_NAME_LEN_MIN..=USER_NAME_LEN_MAX).contains(&name.len());
    if !fits || !name.chars().all(allowed) {
        return Err("must be 3 to 32 characters of a-z 0-9 . _ -");
    }
    Ok(name)
}

/// Names that nobody can sign up with: that of the first administrator, who may come later.
pub(crate) fn is_reserved(user_name: &str) -> bool {
    user_name == "admin"
}

/// What looks like an e-mail address. Whether it is one, only a letter to it could tell.
pub(crate) fn check_email(text: &str) -> Result<String, &'static str> {
    let is_one = text.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && !domain.is_empty() && !domain.contains('@')
    });
    let strange = |c: char| c.is_whitespace() || c.is_control();
    if !is_one || text.len() > EMAIL_LEN_MAX || text.contains(strange) {
        return Err("must be an e-mail address of 254 characters at the most");
    }
    Ok(text.to_owned())
}

/// A new password of somebody: 10 to 128 characters, and none that is tried first.
pub(crate) fn check_password(
    text: &str,
    user_name: &str,
    email: &str,
) -> Result<Password, (&'static str, &'static str)> {
    let length = text.chars().count();
    if !(PASSWORD_LEN_MIN..=PASSWORD_LEN_MAX).contains(&length) {
        return Err(("OUT_OF_RANGE", "must be 10 to 128 characters"));
    }
    let lower = text.to_lowercase();
    if lower == user_name.to_lowercase() || lower == email.to_lowercase() {
        return Err((
            "TOO_EASY",
            "must not be the user name or the e-mail address",
        ));
    }
    if COMMON.contains(&lower.as_str()) {
        return Err(("TOO_EASY", "must not be one of the commonest passwords"));
    }
    Ok(Password(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_lower_case() {
        assert_eq!(check_user_name("Al.i_c-3").unwrap(), "al.i_c-3");
        for bad in ["", "al", "al ice", "älice", "alice@home", &"a".repeat(33)] {
            assert!(check_user_name(bad).is_err(), "{bad}");
        }
        // K as a sign of its own (U+212A) becomes a k
        assert_eq!(check_user_name("\u{212a}ate").unwrap(), "kate");
    }

    #[test]
    fn an_address_has_one_at_and_no_spaces() {
        check_email("Alice@Example.org").unwrap();
        let long = format!("{}@example.org", "a".repeat(243));
        for bad in [
            "", "alice", "@", "alice@", "@home", "a@b@c", "a b@c", "a@b\n", &long,
        ] {
            assert!(check_email(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_password_is_long_and_not_what_is_tried_first() {
        let check = |text: &str| check_password(text, "alice-likes", "alice@example.org");
        check("correct horse").unwrap();
        check(&"ä".repeat(128)).unwrap();
        for bad in ["", "ninechars", &"ä".repeat(129)] {
            assert_eq!(check(bad).unwrap_err().0, "OUT_OF_RANGE", "{bad}");
        }
        for bad in ["Alice-Likes", "ALICE@example.org", "Password123"] {
            assert_eq!(check(bad).unwrap_err().0, "TOO_EASY", "{bad}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let shown = format!("{:?}", Password("correct horse".to_owned()));
        assert_eq!(shown, "***");
    }
}
