use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use palinode_values::{Coded, ErrorCode};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::Violations;

/// The domain of our reasons in `google.rpc.ErrorInfo`.
pub(crate) const DOMAIN: &str = "palinode";
/// When a caller may try again, where the error does not say.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What a status tells beside code, reason and words.
#[derive(Debug, Clone, Default)]
pub struct Details {
    /// Ids and amounts that belong to the reason: `("sku", "mug-blue")`.
    pub ids: Vec<(&'static str, String)>,
    /// Wrong fields of the request.
    pub violations: Violations,
    /// When the caller may try again; `Limited` and `Unavailable` always say something.
    pub retry_after: Option<Duration>,
}

/// The status of an error, without further details. The caller reads its `Display`; an internal
/// one is logged here, with its causes, and its words stay here. Wrong fields are found in the
/// error itself or among its causes.
pub fn status<E: Coded + Error + 'static>(error: &E) -> Status {
    status_with(error, Details::default())
}

/// The status of an error, with details.
pub fn status_with<E: Coded + Error + 'static>(error: &E, details: Details) -> Status {
    let code = error.code();
    if code == ErrorCode::Internal {
        tracing::error!(error = chain(error), "a request failed");
        return make(
            code,
            error.reason(),
            "an internal error occurred",
            Details::default(),
        );
    }
    if code == ErrorCode::Unavailable {
        tracing::warn!(error = chain(error), "a request could not be served");
    }
    let violations = match details.violations {
        none if none.is_empty() => find_violations(error),
        given => given,
    };
    let details = Details {
        violations,
        ..details
    };
    make(code, error.reason(), &error.to_string(), details)
}

/// The one place where a status comes to be.
pub(crate) fn make(code: ErrorCode, reason: &str, words: &str, details: Details) -> Status {
    let ids: HashMap<String, String> = details
        .ids
        .into_iter()
        .map(|(name, id)| (name.to_owned(), id))
        .collect();
    let mut all = ErrorDetails::with_error_info(reason, DOMAIN, ids);
    let fields: Vec<FieldViolation> = details
        .violations
        .list()
        .iter()
        .map(|violation| FieldViolation {
            field: violation.field.clone(),
            description: violation.description.clone(),
            reason: violation.reason.to_owned(),
            localized_message: None,
        })
        .collect();
    if !fields.is_empty() {
        all.set_bad_request(fields);
    }
    let waits = matches!(code, ErrorCode::Limited | ErrorCode::Unavailable).then_some(RETRY_AFTER);
    if let Some(delay) = details.retry_after.or(waits) {
        all.set_retry_info(Some(delay));
    }
    Status::with_error_details(Code::from_i32(code.grpc()), words, all)
}

/// The error and its causes.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&e| e.source())
}

fn find_violations(error: &(dyn Error + 'static)) -> Violations {
    causes(error)
        .find_map(|e| e.downcast_ref::<Violations>())
        .cloned()
        .unwrap_or_default()
}

fn chain(error: &(dyn Error + 'static)) -> String {
    causes(error)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Refused {
        #[error("only 2 of mug-blue are left")]
        OutOfStock,
        #[error("the request is wrong")]
        Request(#[source] Violations),
        #[error("the ledger of alice does not sum to zero")]
        Broken,
        #[error("the database is not available")]
        Down,
    }

    impl Coded for Refused {
        fn code(&self) -> ErrorCode {
            match self {
                Self::OutOfStock => ErrorCode::Refused,
                Self::Request(_) => ErrorCode::Invalid,
                Self::Broken => ErrorCode::Internal,
                Self::Down => ErrorCode::Unavailable,
            }
        }

        fn reason(&self) -> &str {
            match self {
                Self::OutOfStock => "OUT_OF_STOCK",
                Self::Request(_) => "INVALID_REQUEST",
                Self::Broken => "INTERNAL",
                Self::Down => "DATABASE_UNAVAILABLE",
            }
        }
    }

    #[test]
    fn a_refusal_tells_reason_and_ids() {
        let details = Details {
            ids: vec![("sku", "mug-blue".to_owned())],
            ..Details::default()
        };
        let status = status_with(&Refused::OutOfStock, details);
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(status.message(), "only 2 of mug-blue are left");
        let info = status.get_details_error_info().unwrap();
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            ("OUT_OF_STOCK", "palinode")
        );
        assert_eq!(info.metadata["sku"], "mug-blue");
        assert!(status.get_details_retry_info().is_none());
    }

    #[test]
    fn wrong_fields_are_named_also_when_they_are_the_cause() {
        let mut violations = Violations::new();
        violations.add("lines[0].quantity", "OUT_OF_RANGE", "must be 1 to 1000");
        let cause = violations.clone();
        for status in [Status::from(violations), status(&Refused::Request(cause))] {
            assert_eq!(status.code(), Code::InvalidArgument);
            let fields = status.get_details_bad_request().unwrap().field_violations;
            assert_eq!(fields.len(), 1);
            assert_eq!(fields[0].field, "lines[0].quantity");
            assert_eq!(fields[0].reason, "OUT_OF_RANGE");
            assert_eq!(fields[0].description, "must be 1 to 1000");
        }
    }

    #[test]
    fn an_internal_failure_keeps_its_words_to_itself() {
        let status = status(&Refused::Broken);
        assert_eq!(status.code(), Code::Internal);
        assert_eq!(status.message(), "an internal error occurred");
    }

    #[test]
    fn what_may_be_tried_again_says_when() {
        let retry = status(&Refused::Down).get_details_retry_info().unwrap();
        assert_eq!(retry.retry_delay, Some(RETRY_AFTER));
    }
}
