use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};

/// What a service shows to others when it calls in its own name: a token of its own, which somebody
/// renews. Cheap to clone.
#[derive(Clone, Default)]
pub struct Credentials(Arc<RwLock<Option<MetadataValue<Ascii>>>>);

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl Credentials {
    /// Shows this token from now on.
    pub fn set(&self, token: &str) {
        let value = format!("Bearer {token}").parse().ok();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) =
            value.map(|mut value: MetadataValue<Ascii>| {
                value.set_sensitive(true);
                value
            });
    }

    /// A request that shows them, if there are any yet.
    pub fn sign<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let value = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = value.clone() {
            request.metadata_mut().insert("authorization", value);
        }
        request
    }
}
