use palinode_pb::cardprocessor::v1;
use palinode_rpc::Violations;
use palinode_values::{Currency, Money};

use crate::domain::{Charge, Outcome, Processed, Refund};

const TEXT_LEN_MAX: usize = 128;

pub(crate) fn charge(request: v1::ChargeRequest) -> Result<Charge, Violations> {
    let mut violations = Violations::new();
    check_text(&mut violations, "idempotency_key", &request.idempotency_key);
    check_text(&mut violations, "card_token", &request.card_token);
    if request.amount_minor < 1 {
        violations.add("amount_minor", "OUT_OF_RANGE", "must be more than zero");
    }
    let currency = violations.check("currency", "INVALID_CURRENCY", request.currency.parse());
    violations.into_result()?;
    Ok(Charge {
        key: request.idempotency_key,
        token: request.card_token,
        amount: Money::new(request.amount_minor, currency.unwrap_or(Currency::EUR)),
    })
}

pub(crate) fn refund(request: v1::RefundRequest) -> Result<Refund, Violations> {
    let mut violations = Violations::new();
    check_text(&mut violations, "idempotency_key", &request.idempotency_key);
    check_text(&mut violations, "charge_key", &request.charge_key);
    if request.amount_minor < 1 {
        violations.add("amount_minor", "OUT_OF_RANGE", "must be more than zero");
    }
    violations.into_result()?;
    Ok(Refund {
        key: request.idempotency_key,
        charge_key: request.charge_key,
        minor: request.amount_minor,
    })
}

pub(crate) fn charge_response(processed: Processed) -> v1::ChargeResponse {
    let (outcome, decline_code) = outcome(processed.outcome);
    v1::ChargeResponse {
        outcome,
        charge_id: processed.reference,
        decline_code,
    }
}

pub(crate) fn refund_response(processed: Processed) -> v1::RefundResponse {
    let (outcome, decline_code) = outcome(processed.outcome);
    v1::RefundResponse {
        outcome,
        refund_id: processed.reference,
        decline_code,
    }
}

pub(crate) fn look_up_response(processed: Option<Processed>) -> v1::LookupResponse {
    let Some(processed) = processed else {
        return v1::LookupResponse::default();
    };
    let (outcome, _code) = outcome(processed.outcome);
    v1::LookupResponse {
        found: true,
        outcome,
        reference: processed.reference,
    }
}

fn check_text(violations: &mut Violations, field: &str, text: &str) {
    let well_formed =
        (1..=TEXT_LEN_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if !well_formed {
        violations.add(
            field,
            "INVALID_TEXT",
            "must be 1 to 128 visible ASCII characters",
        );
    }
}

fn outcome(outcome: Outcome) -> (i32, String) {
    match outcome {
        Outcome::Approved => (v1::Outcome::Approved.into(), String::new()),
        Outcome::Declined { code } => (v1::Outcome::Declined.into(), code),
    }
}
