//! From gRPC codes to HTTP.

use http::StatusCode;
use tonic::Code;

/// How one gRPC code looks over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRule {
    /// The HTTP status.
    pub http: StatusCode,
    /// The word in the problem's `code`.
    pub code: &'static str,
}

impl StatusRule {
    /// The mapping of `google/rpc/code.proto`, with the codes' own names.
    ///
    /// 499 for `CANCELLED` is not registered, but is what that file says.
    #[must_use]
    pub fn google(code: Code) -> Self {
        let (http, code) = match code {
            Code::Ok => (200, "OK"),
            Code::Cancelled => (499, "CANCELLED"),
            Code::Unknown => (500, "UNKNOWN"),
            Code::InvalidArgument => (400, "INVALID_ARGUMENT"),
            Code::DeadlineExceeded => (504, "DEADLINE_EXCEEDED"),
            Code::NotFound => (404, "NOT_FOUND"),
            Code::AlreadyExists => (409, "ALREADY_EXISTS"),
            Code::PermissionDenied => (403, "PERMISSION_DENIED"),
            Code::ResourceExhausted => (429, "RESOURCE_EXHAUSTED"),
            Code::FailedPrecondition => (400, "FAILED_PRECONDITION"),
            Code::Aborted => (409, "ABORTED"),
            Code::OutOfRange => (400, "OUT_OF_RANGE"),
            Code::Unimplemented => (501, "UNIMPLEMENTED"),
            Code::Internal => (500, "INTERNAL"),
            Code::Unavailable => (503, "UNAVAILABLE"),
            Code::DataLoss => (500, "DATA_LOSS"),
            Code::Unauthenticated => (401, "UNAUTHENTICATED"),
        };
        let http = StatusCode::from_u16(http).expect("every number above is a status code");
        Self { http, code }
    }
}
