use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use palinode_transcode::{Problem, StatusRule};
use palinode_values::ErrorCode;

/// How a code looks over HTTP.
pub(crate) fn status_rule(code: ErrorCode) -> StatusRule {
    let http = StatusCode::from_u16(code.http()).expect("the table holds HTTP statuses");
    StatusRule {
        http,
        code: word(code),
    }
}

/// The word in a problem's `code`.
fn word(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::Invalid => "INVALID",
        ErrorCode::Unauthenticated => "UNAUTHENTICATED",
        ErrorCode::Forbidden => "FORBIDDEN",
        ErrorCode::NotFound => "NOT_FOUND",
        ErrorCode::AlreadyExists => "ALREADY_EXISTS",
        ErrorCode::Conflict => "CONFLICT",
        ErrorCode::Refused => "REFUSED",
        ErrorCode::Limited => "LIMITED",
        ErrorCode::Internal => "INTERNAL",
        ErrorCode::Unavailable => "UNAVAILABLE",
        ErrorCode::Deadline => "DEADLINE",
    }
}

/// A problem of the gateway's own.
pub(crate) fn problem(code: ErrorCode, detail: impl Into<String>) -> Problem {
    let rule = status_rule(code);
    Problem::new(rule.http, rule.code, detail)
}

/// `GET /errors/{reason}`: what the reason means, and what to do.
pub(crate) async fn page(Path(reason): Path<String>) -> Response {
    let found = PAGES.iter().find(|(name, _)| *name == reason);
    match found {
        Some((_, text)) => (
            [(header::CONTENT_TYPE, "text/markdown; charset=utf-8")],
            *text,
        )
            .into_response(),
        None => problem(ErrorCode::NotFound, "there is no page about this reason").into_response(),
    }
}

macro_rules! pages {
    ($($reason:ident)*) => {
        &[$((
            stringify!($reason),
            include_str!(concat!("../../../../docs/errors/", stringify!($reason), ".md")),
        )),*]
    };
}

/// The pages under `docs/errors/`, by reason.
const PAGES: &[(&str, &str)] = pages! {
    ALREADY_CHARGED
    ALREADY_MIGRATED
    ALREADY_PAUSED
    ALREADY_RECALLED
    ALREADY_RESERVED
    ALREADY_SHIPPED
    ATTEMPT_OUT
    AT_REST
    BULK_ENDED
    BULK_NOT_FOUND
    BUSINESS_KEY_USED
    CARD_DECLINED
    CARRIER_CHANGED
    CART_EMPTY
    CART_FULL
    CASE_CLOSED
    CATEGORY_IN_USE
    CATEGORY_NOT_FOUND
    CLAIM_DOES_NOT_FIT
    CROSS_SITE_REQUEST
    CURRENCY_MISMATCH
    DATABASE_UNAVAILABLE
    DEADLINE_EXCEEDED
    EMAIL_TAKEN
    GOES_BACK
    IDEMPOTENCY_KEY_REUSED
    INSUFFICIENT_FUNDS
    INTERNAL
    INT_OUT_OF_RANGE
    INVALID_REQUEST
    KEYS_UNAVAILABLE
    LAST_ADMIN
    NOTHING_TO_RETRY
    NOT_CANCELLABLE
    NOT_CAPTURED
    NOT_COMPENSATABLE
    NOT_PAUSED
    NOT_RESERVED
    NOT_SKIPPABLE
    NOT_YET
    NO_CARRIER
    NO_CASE
    NO_RESIDUE
    NO_SUCH_STEP
    NO_WALLET
    OPENED_BY_STARTER
    ORCHESTRATOR_UNAVAILABLE
    ORDER_CONFIRMED
    ORDER_NOT_FOUND
    ORDER_REJECTED
    OTHER_PLAN
    OUTPUT_NEEDED
    OUT_OF_STOCK
    PASSED_BY
    PAST_PIVOT
    PAYMENT_NOT_FOUND
    PIVOT_UNDECIDED
    PLAN_NOT_FOUND
    PRICE_CHANGED
    PRODUCT_NOT_FOUND
    QUERY_TOO_COMPLEX
    QUERY_TOO_DEEP
    QUOTE_EXPIRED
    QUOTE_NOT_FOUND
    QUOTE_USED
    RATE_LIMITED
    REFRESH_TOKEN_INVALID
    REFRESH_TOKEN_REUSED
    REFUND_DECLINED
    REFUND_EXCEEDS_CHARGE
    REQUEST_TOO_LARGE
    RESERVATION_NOT_FOUND
    REVISION_CHANGED
    ROLE_REQUIRED
    SAGA_ENDED
    SAGA_HELD
    SAGA_MOVED_ON
    SAGA_NOT_FOUND
    SHIPMENT_DISPATCHED
    SHIPMENT_NOT_FOUND
    SHIPMENT_RECALLED
    SIGN_IN_REQUIRED
    SKU_TAKEN
    STEP_CHANGED
    STEP_GONE
    STEP_SETTLED
    STEP_UNKNOWN
    STOCK_COMMITTED
    STOCK_HELD
    TOKEN_EXPIRED
    TOKEN_INVALID
    TOO_MANY_ATTEMPTS
    TOO_MANY_BULKS
    TOO_MANY_ORDERS
    TOO_MANY_SAGAS
    TOO_MANY_SIGN_INS
    TOO_MANY_WATCHERS
    TOTAL_OUT_OF_RANGE
    UNKNOWN_SKU
    USER_NAME_TAKEN
    USER_NOT_FOUND
    WALLET_CLOSED
    WRONG_CREDENTIALS
    WRONG_PASSWORD
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors");
        let mut written: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| {
                let name = entry.unwrap().file_name().into_string().unwrap();
                let reason = name.strip_suffix(".md")?;
                let is_reason = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
                reason.chars().all(is_reason).then(|| reason.to_owned())
            })
            .collect();
        written.sort();
        let served: Vec<_> = PAGES.iter().map(|(name, _)| *name).collect();
        assert_eq!(served, written);
    }
}
