use std::time::Duration;

use palinode_values::Timestamp;

use crate::config::SERVICE_LIFETIME;

/// How long a key signs before the next one is drawn.
const SIGNS_FOR: Duration = Duration::from_hours(30 * 24);
/// From the publication of a key to its first token: everybody has asked for the keys by then.
const PUBLISHED_AHEAD: Duration = Duration::from_hours(1);
/// How long a key is published after its successor began to sign: its last token lives no longer, and
/// instances notice a successor a little late.
pub(crate) const KEPT_AFTER: Duration = Duration::from_secs(SERVICE_LIFETIME.as_secs() + 600);

/// A private key, as it is stored.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) pkcs8: Vec<u8>,
    pub(crate) signs_from: Timestamp,
}

/// When the next key begins to sign, if it is time to draw it. `newest`: when the newest one begins, or
/// has begun.
pub(crate) fn due(newest: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    match newest {
        // there is nobody yet who knows another one
        None => Some(now),
        Some(newest) => (newest + SIGNS_FOR <= now).then(|| now + PUBLISHED_AHEAD),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_signs_at_once_and_others_are_published_ahead() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2026-11-21T12:00:00Z");
        assert_eq!(due(None, now), Some(now));
        assert_eq!(due(Some(at("2026-10-22T12:00:01Z")), now), None);
        assert_eq!(due(Some(at("2026-11-21T12:30:00Z")), now), None);
        let next = Some(at("2026-11-21T13:00:00Z"));
        assert_eq!(due(Some(at("2026-10-22T12:00:00Z")), now), next);
    }
}
