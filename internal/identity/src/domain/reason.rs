use palinode_values::ErrorCode;

/// What went wrong, as callers read it. Each has a page in `docs/errors`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Somebody has this user name.
    UserNameTaken,
    /// Somebody has this e-mail address.
    EmailTaken,
    /// The idempotency key came with another registration before.
    KeyReused,
    /// No such user, or none that the caller may see.
    UserNotFound,
    /// Nobody has this login with this password; or no service this secret.
    WrongCredentials,
    /// The current password is another one.
    WrongPassword,
    /// Too many wrong passwords for this login.
    TooManyAttempts,
    /// More passwords wait to be verified than can be.
    TooManySignIns,
    /// The refresh token is none, or its session is over.
    RefreshTokenInvalid,
    /// The refresh token was used before: its session is over now.
    RefreshTokenReused,
    /// There would be no administrator.
    LastAdmin,
}

impl Reason {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 11] = [
        Self::UserNameTaken,
        Self::EmailTaken,
        Self::KeyReused,
        Self::UserNotFound,
        Self::WrongCredentials,
        Self::WrongPassword,
        Self::TooManyAttempts,
        Self::TooManySignIns,
        Self::RefreshTokenInvalid,
        Self::RefreshTokenReused,
        Self::LastAdmin,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::UserNameTaken => "USER_NAME_TAKEN",
            Self::EmailTaken => "EMAIL_TAKEN",
            Self::KeyReused => "IDEMPOTENCY_KEY_REUSED",
            Self::UserNotFound => "USER_NOT_FOUND",
            Self::WrongCredentials => "WRONG_CREDENTIALS",
            Self::WrongPassword => "WRONG_PASSWORD",
            Self::TooManyAttempts => "TOO_MANY_ATTEMPTS",
            Self::TooManySignIns => "TOO_MANY_SIGN_INS",
            Self::RefreshTokenInvalid => "REFRESH_TOKEN_INVALID",
            Self::RefreshTokenReused => "REFRESH_TOKEN_REUSED",
            Self::LastAdmin => "LAST_ADMIN",
        }
    }

    pub(crate) fn code(self) -> ErrorCode {
        match self {
            Self::UserNameTaken | Self::EmailTaken => ErrorCode::AlreadyExists,
            Self::KeyReused => ErrorCode::Conflict,
            Self::UserNotFound => ErrorCode::NotFound,
            Self::WrongCredentials | Self::RefreshTokenInvalid | Self::RefreshTokenReused => {
                ErrorCode::Unauthenticated
            }
            Self::WrongPassword | Self::LastAdmin => ErrorCode::Refused,
            Self::TooManyAttempts | Self::TooManySignIns => ErrorCode::Limited,
        }
    }

    /// What the caller is told.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::UserNameTaken => "this user name is taken",
            Self::EmailTaken => "there is an account with this e-mail address",
            Self::KeyReused => "the idempotency key came with another registration before",
            Self::UserNotFound => "there is no such user",
            // the same for a name that nobody has: who guesses learns nothing
            Self::WrongCredentials => "login and password do not fit",
            Self::WrongPassword => "the current password is another one",
            Self::TooManyAttempts => "too many wrong passwords: try again later",
            Self::TooManySignIns => "too many passwords wait to be verified: try again in a moment",
            Self::RefreshTokenInvalid => "the refresh token is not valid: sign in again",
            Self::RefreshTokenReused => "the refresh token was used before: sign in again",
            Self::LastAdmin => "there has to be an administrator",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_reason_has_a_page() {
        let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
        for reason in Reason::ALL {
            let page = pages.join(format!("{}.md", reason.as_str()));
            let text = std::fs::read_to_string(&page).unwrap_or_default();
            assert!(
                text.starts_with(&format!("# {}", reason.as_str())),
                "{}",
                page.display()
            );
        }
    }
}
