use std::fmt;

use palinode_values::{Coded, ErrorCode};

/// A field of a request that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path in the request message, in the names of the proto: `lines[0].unit_price`.
    pub field: String,
    /// A constant name, such as `OUT_OF_RANGE`.
    pub reason: &'static str,
    /// The rest of a sentence that the field's name begins: `must be 1 to 1000`.
    pub description: String,
}

/// What is wrong with a request: collected field by field, answered at once as `Invalid`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// Nothing wrong yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A request with one wrong field.
    #[must_use]
    pub fn of(
        field: impl Into<String>,
        reason: &'static str,
        description: impl Into<String>,
    ) -> Self {
        let mut violations = Self::new();
        violations.add(field, reason, description);
        violations
    }

    /// Adds a wrong field.
    pub fn add(
        &mut self,
        field: impl Into<String>,
        reason: &'static str,
        description: impl Into<String>,
    ) {
        self.0.push(Violation {
            field: field.into(),
            reason,
            description: description.into(),
        });
    }

    /// The value, or `None` with the field noted as wrong and the error's words as description.
    pub fn check<T, E: fmt::Display>(
        &mut self,
        field: impl Into<String>,
        reason: &'static str,
        value: Result<T, E>,
    ) -> Option<T> {
        value
            .map_err(|error| self.add(field, reason, error.to_string()))
            .ok()
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The wrong fields, in the order of their finding.
    #[must_use]
    pub fn list(&self) -> &[Violation] {
        &self.0
    }

    /// `Ok` when nothing is wrong.
    ///
    /// # Errors
    /// These violations; `?` makes a status of them.
    pub fn into_result(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl From<palinode_pb::validate::Invalid> for Violations {
    fn from(invalid: palinode_pb::validate::Invalid) -> Self {
        let list = invalid.into_list().into_iter();
        Self(
            list.map(|one| Violation {
                field: one.field,
                reason: one.reason,
                description: one.description,
            })
            .collect(),
        )
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [only] => write!(f, "{} {}", only.field, only.description),
            many => write!(f, "{} fields of the request are wrong", many.len()),
        }
    }
}

impl std::error::Error for Violations {}

impl Coded for Violations {
    fn code(&self) -> ErrorCode {
        ErrorCode::Invalid
    }

    fn reason(&self) -> &str {
        "INVALID_REQUEST"
    }
}

impl From<Violations> for tonic::Status {
    fn from(violations: Violations) -> Self {
        crate::status(&violations)
    }
}
