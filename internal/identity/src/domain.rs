#![warn(clippy::wildcard_enum_match_arm)]

mod account;
mod key;
mod reason;
mod session;
mod throttle;

pub(crate) use account::{
    Account, Password, Registration, Verified, check_email, check_password, check_user_name,
    is_reserved,
};
pub(crate) use key::{KEPT_AFTER, Stored, due};
pub(crate) use reason::Reason;
pub(crate) use session::{
    Ended, LIFETIME_MAX, LIVE_MAX, LIVES_FOR, Refresh, Session, Token, refresh,
};
pub(crate) use throttle::pause;
