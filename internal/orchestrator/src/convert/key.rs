use prost::Message;
use sha2::{Digest, Sha256};

/// The idempotency key of a request, and what it stands for.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) key: String,
    /// SHA-256 of the request.
    pub(crate) fingerprint: Vec<u8>,
}

impl Key {
    /// The key that came with a request, if one did.
    pub(crate) fn of(key: Option<String>, request: &impl Message) -> Option<Self> {
        let fingerprint = || Sha256::digest(request.encode_to_vec()).to_vec();
        key.map(|key| Self {
            key,
            fingerprint: fingerprint(),
        })
    }
}
