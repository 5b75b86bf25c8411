use std::fmt;

/// How a caller should react to a failure; the *reason* beside it says what happened.
///
/// Closed: this is the only mapping to gRPC and HTTP (plain numbers, so the kernel knows neither).
/// Source: `google.rpc.Code`, RFC 9110.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// Malformed or out of range; lists the fields. Do not retry.
    Invalid,
    /// Token missing, bad or expired. Retry after signing in.
    Unauthenticated,
    /// The role lacks the right.
    Forbidden,
    /// Absent, or owned by somebody else.
    NotFound,
    /// A unique value is taken.
    AlreadyExists,
    /// Stale version, wrong expected state, or a key reused with another body. Read again first.
    Conflict,
    /// A business rule said no: out of stock, declined, past the pivot.
    Refused,
    /// Rate, quota or a full queue. Retry after the time given.
    Limited,
    /// A broken invariant.
    Internal,
    /// A dependency is down and nothing was done. Retry with the same key.
    Unavailable,
    /// The outcome is *unknown*, never "failed". Retry with the same key.
    Deadline,
}

impl ErrorCode {
    /// Every code, in one order.
    pub const ALL: [Self; 11] = [
        Self::Invalid,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::AlreadyExists,
        Self::Conflict,
        Self::Refused,
        Self::Limited,
        Self::Internal,
        Self::Unavailable,
        Self::Deadline,
    ];

    /// The number of the gRPC status code.
    #[must_use]
    pub fn grpc(self) -> i32 {
        match self {
            Self::Invalid => 3,
            Self::Unauthenticated => 16,
            Self::Forbidden => 7,
            Self::NotFound => 5,
            Self::AlreadyExists => 6,
            Self::Conflict => 10,
            Self::Refused => 9,
            Self::Limited => 8,
            Self::Internal => 13,
            Self::Unavailable => 14,
            Self::Deadline => 4,
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn http(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::AlreadyExists | Self::Conflict => 409,
            Self::Refused => 422,
            Self::Limited => 429,
            Self::Internal => 500,
            Self::Unavailable => 503,
            Self::Deadline => 504,
        }
    }

    /// The code of a gRPC status number; `None` for OK and for numbers that we never send.
    #[must_use]
    pub fn from_grpc(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.grpc() == number)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// An error that says how to react to it.
pub trait Coded {
    /// The code of this failure.
    fn code(&self) -> ErrorCode;

    /// What happened, as a constant name such as `OUT_OF_STOCK`; the code's name where nothing
    /// more is known.
    fn reason(&self) -> &str;
}
