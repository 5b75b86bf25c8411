use std::fmt;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use palinode_values::{SessionId, Timestamp, UserId};
use uuid::Uuid;

/// Live sessions of one account at the most; the oldest makes room.
pub(crate) const LIVE_MAX: i64 = 20;
/// How long a session lives that is not refreshed.
pub(crate) const LIVES_FOR: Duration = Duration::from_hours(30 * 24);
/// How long a session lives however often it is refreshed.
pub(crate) const LIFETIME_MAX: Duration = Duration::from_hours(90 * 24);
/// A token that was used is answered again for so long: the answer may have been lost.
const REPEATED_FOR: Duration = Duration::from_secs(30);

const ID_LEN: usize = 16;
const SIGNED_LEN: usize = ID_LEN + 4;
const TOKEN_LEN: usize = SIGNED_LEN + 32;

/// Why a session ended before it expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Its user signed out.
    SignedOut,
    /// A refresh token came a second time: it was stolen, from the user or by him who has used it.
    Reused,
    /// The password was changed in another session.
    PasswordChanged,
    /// Its user signed in too often.
    TooMany,
}

impl Ended {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::SignedOut => "signed-out",
            Self::Reused => "reused",
            Self::PasswordChanged => "password-changed",
            Self::TooMany => "too-many",
        }
    }
}

/// What a refresh token stands for.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) account: UserId,
    pub(crate) secret: [u8; 32],
    /// Of the token that is good now.
    pub(crate) generation: i32,
    pub(crate) rotated_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    /// Whether it ended before it expired.
    pub(crate) is_ended: bool,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// What becomes of a refresh token that is one of the session's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refresh {
    /// It is the present one: make the next.
    Rotate,
    /// It is the one before, and was used just now: answer the present one again.
    Repeat,
    /// It was used before: end the session.
    Reused,
    /// The session is over.
    Over,
}

/// Decides about a token of `generation`.
pub(crate) fn refresh(session: &Session, generation: i32, now: Timestamp) -> Refresh {
    if session.is_ended || session.expires_at <= now {
        return Refresh::Over;
    }
    if generation == session.generation {
        return Refresh::Rotate;
    }
    // whoever has waited for the row looks at it from before its change
    if generation + 1 == session.generation && now <= session.rotated_at + REPEATED_FOR {
        return Refresh::Repeat;
    }
    Refresh::Reused
}

/// A refresh token: session id, generation, and their HMAC-SHA-256 under the session's secret.
#[derive(Clone, Copy)]
pub(crate) struct Token {
    bytes: [u8; TOKEN_LEN],
}

impl Token {
    /// The token of the session's present generation.
    pub(crate) fn of(session: &Session) -> Self {
        let mut bytes = [0; TOKEN_LEN];
        bytes[..ID_LEN].copy_from_slice(session.id.0.as_bytes());
        bytes[ID_LEN..SIGNED_LEN].copy_from_slice(&session.generation.to_be_bytes());
        let tag = hmac::sign(&key(session), &bytes[..SIGNED_LEN]);
        bytes[SIGNED_LEN..].copy_from_slice(tag.as_ref());
        Self { bytes }
    }

    /// Reads a token; `None`: it is none.
    pub(crate) fn read(text: &str) -> Option<Self> {
        // a byte more than there should be would be seen, and a long text is not decoded
        let mut bytes = [0; TOKEN_LEN + 3];
        let read = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        let bytes = bytes[..read].try_into().ok()?;
        Some(Self { bytes })
    }

    pub(crate) fn session(&self) -> SessionId {
        let mut id = [0; ID_LEN];
        id.copy_from_slice(&self.bytes[..ID_LEN]);
        SessionId(Uuid::from_bytes(id))
    }

    pub(crate) fn generation(&self) -> i32 {
        let mut number = [0; SIGNED_LEN - ID_LEN];
        number.copy_from_slice(&self.bytes[ID_LEN..SIGNED_LEN]);
        i32::from_be_bytes(number)
    }

    /// Whether the session has made it; compared in constant time.
    pub(crate) fn is_of(&self, session: &Session) -> bool {
        let (signed, tag) = self.bytes.split_at(SIGNED_LEN);
        hmac::verify(&key(session), signed, tag).is_ok()
    }

    pub(crate) fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes)
    }
}

fn key(session: &Session) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &session.secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(generation: i32) -> Session {
        Session {
            id: SessionId(Uuid::from_u128(7)),
            account: "alice".parse().unwrap(),
            secret: [7; 32],
            generation,
            rotated_at: "2026-11-21T12:00:00Z".parse().unwrap(),
            expires_at: "2026-12-21T12:00:00Z".parse().unwrap(),
            is_ended: false,
        }
    }

    #[test]
    fn a_token_is_good_once_and_for_half_a_minute_more() {
        let check = |generation: i32, now: &str, expect: Refresh| {
            let outcome = refresh(&session(3), generation, now.parse().unwrap());
            assert_eq!(outcome, expect, "{generation} at {now}");
        };
        check(3, "2026-12-21T11:59:59Z", Refresh::Rotate);
        check(3, "2026-12-21T12:00:00Z", Refresh::Over);
        check(2, "2026-11-21T11:59:59Z", Refresh::Repeat);
        check(2, "2026-11-21T12:00:30Z", Refresh::Repeat);
        check(2, "2026-11-21T12:00:31Z", Refresh::Reused);
        check(1, "2026-11-21T12:00:00Z", Refresh::Reused);
        let ended = Session {
            is_ended: true,
            ..session(3)
        };
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        assert_eq!(refresh(&ended, 3, now), Refresh::Over);
        assert_eq!(refresh(&ended, 1, now), Refresh::Over);
    }

    #[test]
    fn a_token_is_of_one_session_and_generation() {
        let text = Token::of(&session(3)).text();
        let token = Token::read(&text).unwrap();
        assert_eq!(token.session(), session(3).id);
        assert_eq!(token.generation(), 3);
        assert!(token.is_of(&session(3)) && token.is_of(&session(4)));
        let other = Session {
            secret: [8; 32],
            ..session(3)
        };
        assert!(!token.is_of(&other));
        let mut raised = token;
        raised.bytes[SIGNED_LEN - 1] += 1;
        assert!(!raised.is_of(&session(4)));
    }

    #[test]
    fn what_is_no_token_is_not_read() {
        let text = Token::of(&session(1)).text();
        for bad in [
            "",
            "a.b.c",
            &text[1..],
            &format!("{text}A"),
            &format!("{text}AAAA"),
            &"A".repeat(100_000),
        ] {
            assert!(Token::read(bad).is_none(), "{bad}");
        }
    }
}
