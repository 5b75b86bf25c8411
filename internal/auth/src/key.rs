use std::fmt;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use palinode_values::{Timestamp, UserId};
use uuid::Uuid;

use crate::verifier::Claims;
use crate::{AUDIENCE, ISSUER, Role};

/// A key that cannot be made or read.
#[derive(Debug, thiserror::Error)]
#[error("the signing key cannot be used: {0}")]
pub struct KeyError(String);

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Whom it speaks for.
    pub subject: UserId,
    /// What he is trusted with.
    pub roles: Vec<Role>,
    /// The session that it is given to.
    pub session: Option<Uuid>,
    /// How long it is good for; whole seconds.
    pub lifetime: Duration,
}

/// A private key, which signs tokens: ES256 (RFC 7518 §3.4). Its id is the thumbprint of its public half
/// (RFC 7638).
#[derive(Clone)]
pub struct Signer {
    id: String,
    public: Jwk,
    private: EncodingKey,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Signer {
    /// Draws a new key: PKCS #8, DER.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn draw() -> Result<Vec<u8>, KeyError> {
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map(|key| key.as_ref().to_vec())
            .map_err(|error| KeyError(error.to_string()))
    }

    /// Reads a key that [`Signer::draw`] has drawn.
    ///
    /// # Errors
    /// It is none.
    pub fn read(pkcs8: &[u8]) -> Result<Self, KeyError> {
        let wrong = |error: &dyn fmt::Display| KeyError(error.to_string());
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map_err(|e| wrong(&e))?;
        let private = EncodingKey::from_ec_der(pkcs8);
        let mut public =
            Jwk::from_encoding_key(&private, Algorithm::ES256).map_err(|e| wrong(&e))?;
        let id = public
            .thumbprint(ThumbprintHash::SHA256)
            .map_err(|e| wrong(&e))?;
        public.common.key_id = Some(id.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self {
            id,
            public,
            private,
        })
    }

    /// `kid`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A token, good from `now` on.
    ///
    /// # Errors
    /// The key does not sign.
    #[expect(
        clippy::disallowed_methods,
        reason = "the id of a token names it, and nothing sorts by it"
    )]
    pub fn sign(&self, grant: &Grant, now: Timestamp) -> Result<String, KeyError> {
        let seconds = i64::try_from(grant.lifetime.as_secs()).unwrap_or(i64::MAX);
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: grant.subject.as_str().to_owned(),
            iat: now.timestamp(),
            exp: now.timestamp().saturating_add(seconds),
            jti: Uuid::new_v4(),
            sid: grant.session,
            roles: grant.roles.clone(),
        };
        let header = Header {
            // RFC 9068: no other kind of token is taken for one that gives access
            typ: Some("at+jwt".to_owned()),
            kid: Some(self.id.clone()),
            ..Header::new(Algorithm::ES256)
        };
        jsonwebtoken::encode(&header, &claims, &self.private)
            .map_err(|error| KeyError(error.to_string()))
    }

    /// The public halves of keys, as JSON (RFC 7517).
    #[must_use]
    pub fn publish<'a>(signers: impl IntoIterator<Item = &'a Self>) -> String {
        let keys = signers
            .into_iter()
            .map(|signer| signer.public.clone())
            .collect();
        serde_json::to_string(&JwkSet { keys }).unwrap_or_default()
    }
}
