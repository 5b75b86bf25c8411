use std::collections::BTreeMap;

use palinode_values::{Coded, ErrorCode};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::status::DOMAIN;

/// What a call to another service came to, read from its status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Failure {
    /// How to react. What no service of ours vouched for is `Deadline` (the outcome is unknown),
    /// unless the call never left this process.
    pub code: ErrorCode,
    /// What happened, such as `CARD_DECLINED`; `TRANSPORT` where no service answered.
    pub reason: String,
    /// The service's words.
    pub detail: String,
    /// Ids and amounts that belong to the reason.
    pub ids: BTreeMap<String, String>,
}

impl Coded for Failure {
    fn code(&self) -> ErrorCode {
        self.code
    }

    fn reason(&self) -> &str {
        &self.reason
    }
}

impl From<&Status> for Failure {
    fn from(status: &Status) -> Self {
        let info = status
            .get_details_error_info()
            .filter(|info| info.domain == DOMAIN);
        let (code, reason, ids) = match info {
            Some(info) => (
                ErrorCode::from_grpc(status.code().into()).unwrap_or(ErrorCode::Internal),
                info.reason,
                info.metadata.into_iter().collect(),
            ),
            None => (
                without_details(status.code()),
                "TRANSPORT".to_owned(),
                BTreeMap::new(),
            ),
        };
        Self {
            code,
            reason,
            detail: status.message().to_owned(),
            ids,
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::from(&status)
    }
}

/// The code of a gRPC code, of ours or not; `None` for `OK` and `UNIMPLEMENTED`.
#[must_use]
pub fn error_code(code: Code) -> Option<ErrorCode> {
    match code {
        // whoever cut it off, nobody knows what came of it
        Code::Cancelled => Some(ErrorCode::Deadline),
        Code::OutOfRange => Some(ErrorCode::Invalid),
        Code::Unknown | Code::DataLoss => Some(ErrorCode::Internal),
        other => ErrorCode::from_grpc(other.into()),
    }
}

/// tonic says `Unavailable` for a connection that could not be made and for a refused stream:
/// nothing was done. A call cut off on its way is anything else, and may have been done.
fn without_details(code: Code) -> ErrorCode {
    match code {
        Code::Unavailable => ErrorCode::Unavailable,
        Code::Unimplemented => ErrorCode::Internal,
        Code::ResourceExhausted => ErrorCode::Limited,
        _ => ErrorCode::Deadline,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Violations;

    #[test]
    fn a_status_of_ours_comes_back_as_it_went() {
        let failure = Failure::from(Status::from(Violations::of("sku", "UNKNOWN", "is unknown")));
        assert_eq!(failure.code, ErrorCode::Invalid);
        assert_eq!(failure.reason, "INVALID_REQUEST");
        assert_eq!(failure.detail, "sku is unknown");
    }

    #[test]
    fn a_call_cut_off_has_an_unknown_outcome() {
        for cut in [
            Status::cancelled("Timeout expired"),
            Status::unknown("h2"),
            Status::internal(""),
        ] {
            assert_eq!(Failure::from(cut).code, ErrorCode::Deadline);
        }
        let refused = Failure::from(Status::unavailable("connection refused"));
        assert_eq!(refused.code, ErrorCode::Unavailable);
    }
}
