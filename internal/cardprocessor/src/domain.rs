#![warn(clippy::wildcard_enum_match_arm)]

use palinode_values::Money;
use uuid::Uuid;

/// A charge that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) key: String,
    pub(crate) token: String,
    pub(crate) amount: Money,
}

/// A refund that is asked for: of a charge, or of a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refund {
    pub(crate) key: String,
    pub(crate) charge_key: String,
    /// Minor units, more than zero.
    pub(crate) minor: i64,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Approved,
    Declined { code: String },
}

/// What a key was used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    Charge { token: String, amount: Money },
    Refund { charge_key: String, minor: i64 },
}

/// A record: what was asked under a key, and what was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Processed {
    pub(crate) asked: Asked,
    pub(crate) outcome: Outcome,
    pub(crate) reference: String,
}

/// How a refund's charge stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChargeStands {
    /// Approved, with what of it was not paid back yet.
    Approved { left: Money },
    /// Approved, on a card that was closed since.
    CardClosed,
    /// Declined, or never heard of.
    Unknown,
}

const DECLINED_TOKEN: &str = "tok_declined";
/// Can be charged, and takes nothing back.
const CLOSED_TOKEN: &str = "tok_closed";
/// Its answer is late; the record is not.
const SLOW_TOKEN: &str = "tok_slow";

pub(crate) fn decide_charge(charge: &Charge) -> Outcome {
    if charge.token == DECLINED_TOKEN {
        declined("card_declined")
    } else {
        Outcome::Approved
    }
}

pub(crate) fn decide_refund(charge: ChargeStands, minor: i64) -> Outcome {
    match charge {
        ChargeStands::Approved { left } if minor <= left.minor => Outcome::Approved,
        ChargeStands::Approved { left } if left.minor == 0 => declined("already_refunded"),
        ChargeStands::Approved { .. } => declined("exceeds_charge"),
        ChargeStands::CardClosed => declined("card_closed"),
        ChargeStands::Unknown => declined("unknown_charge"),
    }
}

/// Whether nothing can be paid back to the card.
pub(crate) fn is_closed(token: &str) -> bool {
    token == CLOSED_TOKEN
}

/// Whether the answer about that token is late.
pub(crate) fn is_slow(token: &str) -> bool {
    token == SLOW_TOKEN
}

/// Our reference of what happened under a key: the same, whoever computes it.
pub(crate) fn reference(kind: &str, key: &str) -> String {
    let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{kind}/{key}").as_bytes());
    format!("{kind}_{}", id.simple())
}

fn declined(code: &str) -> Outcome {
    Outcome::Declined {
        code: code.to_owned(),
    }
}
