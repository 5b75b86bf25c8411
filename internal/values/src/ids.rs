use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::{Timestamp as UuidTime, Uuid};

use crate::Clock;

const NANOS_OF_A_MILLI: u32 = 1_000_000;
/// Bits of an id that tell a part of a millisecond, a quarter of a microsecond each.
const FRACTION_BITS: u8 = 12;

/// Text that is no id of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {kind}: {rule}")]
pub struct InvalidId {
    /// What it should have been.
    pub kind: &'static str,
    /// What it was.
    pub text: String,
    /// The rule it breaks.
    pub rule: &'static str,
}

/// What of a millisecond has gone by follows it in 12 bits, as in RFC 9562, section 6.2, method 3: lists by id
/// are in the order of drawing, to a microsecond.
fn draw(clock: &Clock) -> Uuid {
    let now = clock.now();
    let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
    let nanos = now.timestamp_subsec_nanos();
    let fraction = u128::from(nanos % NANOS_OF_A_MILLI) * (1 << FRACTION_BITS);
    Uuid::new_v7(UuidTime::from_unix_time(
        seconds,
        nanos,
        fraction / u128::from(NANOS_OF_A_MILLI),
        FRACTION_BITS,
    ))
}

macro_rules! uuid_id {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Draws a new id (UUIDv7, RFC 9562): it sorts by the time of its drawing, to a
            /// microsecond.
            #[must_use]
            pub fn new(clock: &Clock) -> Self {
                Self(draw(clock))
            }

            /// The id as a message key: lower-case hyphenated text in UTF-8.
            #[must_use]
            pub fn key(self) -> Vec<u8> {
                self.0.hyphenated().to_string().into_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::try_parse(text).map(Self).map_err(|_not_a_uuid| InvalidId {
                    kind: stringify!($name),
                    text: text.chars().take(64).collect(),
                    rule: "a UUID such as 0197a1c2-7b1e-7c3a-9d2f-3f5b0c9e1a42",
                })
            }
        }
    )*};
}

uuid_id! {
    /// One run of a plan.
    SagaId;
    /// One verb for many sagas.
    BulkId;
    /// An order.
    OrderId;
    /// Prices that hold for a while.
    QuoteId;
    /// A try to take a completed order back.
    CancellationId;
    /// Stock held for an order.
    ReservationId;
    /// A charge of a wallet or a card.
    PaymentId;
    /// Something that can be ordered.
    ProductId;
    /// Money of a payment that goes back.
    RefundId;
    /// A parcel on its way.
    ShipmentId;
    /// A message; `ce_id` on the wire.
    EventId;
    /// One line of the ledger.
    LedgerEntryId;
    /// What somebody has who has signed in.
    SessionId;
}

macro_rules! text_id {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// Shape: 1 to 64 characters of `A-Z a-z 0-9 . _ -`.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The text of the id.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
                if text.is_empty() || text.len() > 64 || !text.chars().all(allowed) {
                    return Err(InvalidId {
                        kind: stringify!($name),
                        text: text.chars().take(64).collect(),
                        rule: "1 to 64 characters of A-Z a-z 0-9 . _ -",
                    });
                }
                Ok(Self(text.to_owned()))
            }
        }
    )*};
}

text_id! {
    /// Who places orders and owns a wallet.
    UserId;
    /// A thing that is kept in stock.
    Sku;
}

impl UserId {
    /// Draws a new id: the text of a UUIDv7.
    #[must_use]
    pub fn new(clock: &Clock) -> Self {
        Self(draw(clock).hyphenated().to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Timestamp;

    #[test]
    fn ids_sort_by_the_time_of_their_drawing() {
        let begin: Timestamp = "2026-11-21T12:00:00.9995Z".parse().unwrap();
        let clock = Clock::manual(begin);
        let mut before = SagaId::new(&clock);
        for step in 1..4_000 {
            clock.set(begin + Duration::from_micros(step));
            let next = SagaId::new(&clock);
            assert!(before < next, "step {step}: {before} and {next}");
            before = next;
        }
    }

    #[test]
    fn ids_of_one_moment_differ() {
        let clock = Clock::manual("2026-11-21T12:00:00Z".parse().unwrap());
        assert_ne!(SagaId::new(&clock), SagaId::new(&clock));
        assert_eq!(SagaId::new(&clock).0.get_version_num(), 7);
    }

    #[test]
    fn text_ids_refuse_what_would_not_survive_a_url() {
        for bad in ["", "a b", "a/b", "ä", &"x".repeat(65)] {
            assert!(bad.parse::<Sku>().is_err(), "{bad:?}");
        }
        assert_eq!(
            "mug-blue_1.0".parse::<Sku>().unwrap().as_str(),
            "mug-blue_1.0"
        );
    }

    #[test]
    fn a_key_is_lower_case_hyphenated_text() {
        let id: OrderId = "0197A1C2-7B1E-7C3A-9D2F-3F5B0C9E1A42".parse().unwrap();
        assert_eq!(id.key(), b"0197a1c2-7b1e-7c3a-9d2f-3f5b0c9e1a42");
    }
}
