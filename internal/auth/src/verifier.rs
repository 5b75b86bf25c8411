use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use palinode_values::{Clock, Timestamp, UserId};
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{AUDIENCE, ISSUER, Principal, Role};

/// Tokens that were verified and need not be verified again: a signature takes longer than a call should.
const REMEMBERED_MAX: usize = 10_000;
/// Clocks of two machines differ.
const LEEWAY_S: u64 = 30;
/// A token of ours has about 500 bytes.
const TOKEN_BYTES_MAX: usize = 4_096;
/// Keys that are published at once, at the most.
const KEYS_MAX: usize = 32;

/// Claims of an access token (RFC 9068).
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) iss: String,
    pub(crate) aud: String,
    pub(crate) sub: String,
    pub(crate) iat: i64,
    pub(crate) exp: i64,
    pub(crate) jti: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sid: Option<Uuid>,
    pub(crate) roles: Vec<Role>,
}

/// Why a token is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is no token of ours: another shape, algorithm, issuer, audience, or a wrong signature.
    #[error("the token is not valid")]
    Invalid,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// It names a key that is not known here: it may be a new one.
    #[error("the token is signed with a key that is not known")]
    UnknownKey,
    /// No keys are known here at all.
    #[error("the keys that tokens are verified with are not known yet")]
    NoKeys,
}

/// The keys are no keys.
#[derive(Debug, thiserror::Error)]
#[error("the published keys cannot be read: {0}")]
pub(crate) struct Unreadable(String);

#[derive(Default)]
struct Keys {
    by_id: HashMap<String, DecodingKey>,
    /// Counts changes.
    version: u64,
    text: String,
}

/// Verifies tokens with the keys that it was given. Cheap to clone.
#[derive(Clone)]
pub struct Verifier {
    clock: Clock,
    rules: Arc<Validation>,
    keys: Arc<RwLock<Keys>>,
    remembered: Arc<Cache<[u8; 32], (u64, Principal)>>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

impl Verifier {
    /// A verifier that knows no key yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let mut rules = Validation::new(Algorithm::ES256);
        rules.leeway = LEEWAY_S;
        rules.set_audience(&[AUDIENCE]);
        rules.set_issuer(&[ISSUER]);
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // by our own clock, for remembered tokens too
        rules.validate_exp = false;
        Self {
            clock,
            rules: Arc::new(rules),
            keys: Arc::default(),
            remembered: Arc::new(Cache::new(REMEMBERED_MAX)),
        }
    }

    /// Takes over the keys that identity publishes (a JWK set, RFC 7517). Keys of other algorithms are passed
    /// over; tokens of keys that are gone are refused from now on.
    ///
    /// # Errors
    /// It is no set of keys: the old ones stay.
    pub fn set_keys(
        &self,
        text: &str,
    ) -> Result<(), impl std::error::Error + Send + Sync + 'static> {
        let set: JwkSet = serde_json::from_str(text).map_err(|e| Unreadable(e.to_string()))?;
        let mut by_id = HashMap::new();
        for key in set.keys.iter().take(KEYS_MAX) {
            let is_ours = key.common.key_algorithm.is_none_or(|algorithm| {
                Algorithm::try_from(algorithm).is_ok_and(|of| of == Algorithm::ES256)
            });
            if let (Some(id), true, Ok(key)) =
                (&key.common.key_id, is_ours, DecodingKey::from_jwk(key))
            {
                by_id.insert(id.clone(), key);
            }
        }
        if by_id.is_empty() {
            return Err(Unreadable("there is no ES256 key among them".to_owned()));
        }
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if keys.text != text {
            *keys = Keys {
                by_id,
                version: keys.version + 1,
                text: text.to_owned(),
            };
        }
        Ok(())
    }

    /// Whom a token speaks for.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn verify(&self, token: &str) -> Result<Principal, Refused> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refused::Invalid);
        }
        let digest: [u8; 32] = Sha256::digest(token).into();
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((version, principal)) = self.remembered.get(&digest)
            && version == keys.version
        {
            return self.in_time(principal);
        }
        if keys.by_id.is_empty() {
            return Err(Refused::NoKeys);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_no_header| Refused::Invalid)?;
        // "none" and HS256 never come as far as a key
        if header.alg != Algorithm::ES256 || header.typ.as_deref() != Some("at+jwt") {
            return Err(Refused::Invalid);
        }
        let id = header.kid.as_deref().ok_or(Refused::Invalid)?;
        let key = keys.by_id.get(id).ok_or(Refused::UnknownKey)?;
        let claims = jsonwebtoken::decode::<Claims>(token, key, &self.rules)
            .map_err(|error| match error.kind() {
                ErrorKind::ExpiredSignature => Refused::Expired,
                _ => Refused::Invalid,
            })?
            .claims;
        let principal = principal_of(claims).ok_or(Refused::Invalid)?;
        let entry = (keys.version, principal.clone());
        drop(keys);
        self.remembered.insert(digest, entry);
        self.in_time(principal)
    }

    fn in_time(&self, principal: Principal) -> Result<Principal, Refused> {
        let late = self.clock.now() - principal.expires_at;
        if late.num_seconds() >= i64::try_from(LEEWAY_S).unwrap_or_default() {
            return Err(Refused::Expired);
        }
        Ok(principal)
    }
}

fn principal_of(claims: Claims) -> Option<Principal> {
    Some(Principal {
        subject: claims.sub.parse::<UserId>().ok()?,
        roles: claims.roles,
        session: claims.sid,
        expires_at: Timestamp::from_timestamp(claims.exp, 0)?,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::{Grant, Signer};

    const NOW: &str = "2026-11-21T12:00:00Z";

    fn signer() -> Signer {
        Signer::read(&Signer::draw().unwrap()).unwrap()
    }

    fn grant() -> Grant {
        Grant {
            subject: "alice".parse().unwrap(),
            roles: vec![Role::Customer],
            session: Some(Uuid::from_u128(7)),
            lifetime: Duration::from_secs(900),
        }
    }

    /// A verifier of this signer, and a token for alice.
    fn rig(signer: &Signer) -> (Clock, Verifier, String) {
        let clock = Clock::manual(NOW.parse().unwrap());
        let verifier = Verifier::new(clock.clone());
        verifier.set_keys(&Signer::publish([signer])).unwrap();
        let token = signer.sign(&grant(), clock.now()).unwrap();
        (clock, verifier, token)
    }

    /// A token with these claims, signed with a key.
    fn forged(pkcs8: &[u8], header: &jsonwebtoken::Header, claims: &Value) -> String {
        let key = jsonwebtoken::EncodingKey::from_ec_der(pkcs8);
        jsonwebtoken::encode(header, claims, &key).unwrap()
    }

    #[test]
    fn a_token_speaks_for_its_subject_until_it_expires() {
        let (clock, verifier, token) = rig(&signer());
        for _once_more in 0..2 {
            let principal = verifier.verify(&token).unwrap();
            assert_eq!(principal.subject.as_str(), "alice");
            assert_eq!(principal.roles, [Role::Customer]);
            assert_eq!(principal.session, Some(Uuid::from_u128(7)));
        }
        clock.set("2026-11-21T12:15:29Z".parse().unwrap());
        verifier.verify(&token).unwrap();
        clock.set("2026-11-21T12:15:30Z".parse().unwrap());
        assert_eq!(verifier.verify(&token), Err(Refused::Expired));
    }

    #[test]
    fn what_is_not_signed_by_a_published_key_is_refused() {
        let (clock, verifier, token) = rig(&signer());
        let stranger = signer().sign(&grant(), clock.now()).unwrap();
        assert_eq!(verifier.verify(&stranger), Err(Refused::UnknownKey));
        let unknowing = Verifier::new(clock);
        assert_eq!(unknowing.verify(&token), Err(Refused::NoKeys));
        let parts: Vec<&str> = token.split('.').collect();
        let longer = "x".repeat(TOKEN_BYTES_MAX + 1);
        // header of `{"alg":"none","typ":"at+jwt"}`
        let none = "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0";
        for bad in [
            String::new(),
            "a.b.c".to_owned(),
            format!("{}.{}.", parts[0], parts[1]),
            format!("{none}.{}.", parts[1]),
            format!("{none}.{}.{}", parts[1], parts[2]),
            format!("{}.{}.{}A", parts[0], parts[1], parts[2]),
            longer,
        ] {
            assert_eq!(verifier.verify(&bad), Err(Refused::Invalid), "{bad}");
        }
    }

    #[test]
    fn a_right_signature_under_wrong_claims_is_refused() {
        let pkcs8 = Signer::draw().unwrap();
        let signer = Signer::read(&pkcs8).unwrap();
        let (_clock, verifier, _token) = rig(&signer);
        let header = |typ: &str| jsonwebtoken::Header {
            typ: Some(typ.to_owned()),
            kid: Some(signer.id().to_owned()),
            ..jsonwebtoken::Header::new(Algorithm::ES256)
        };
        let good = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "roles": ["customer"],
            "iat": 0, "exp": 4_000_000_000_i64, "jti": Uuid::nil(),
        });
        let with = |name: &str, value: Value| {
            let mut claims = good.clone();
            claims[name] = value;
            claims
        };
        let check = |claims: &Value| verifier.verify(&forged(&pkcs8, &header("at+jwt"), claims));
        check(&good).unwrap();
        for (name, value) in [
            ("iss", json!("somebody")),
            ("aud", json!("another")),
            ("aud", Value::Null),
            ("sub", json!("al ice")),
            ("sub", Value::Null),
            ("exp", json!("never")),
            ("exp", Value::Null),
            ("roles", json!(["root"])),
            ("roles", Value::Null),
        ] {
            let refused = check(&with(name, value.clone()));
            assert_eq!(refused, Err(Refused::Invalid), "{name} {value}");
        }
        let other_kind = forged(&pkcs8, &header("JWT"), &good);
        assert_eq!(verifier.verify(&other_kind), Err(Refused::Invalid));
    }

    #[test]
    fn a_key_that_is_gone_takes_its_tokens_with_it() {
        let (old, new) = (signer(), signer());
        let (clock, verifier, token) = rig(&old);
        verifier.verify(&token).unwrap();
        verifier.set_keys(&Signer::publish([&old, &new])).unwrap();
        verifier.verify(&token).unwrap();
        verifier
            .verify(&new.sign(&grant(), clock.now()).unwrap())
            .unwrap();
        verifier.set_keys(&Signer::publish([&new])).unwrap();
        assert_eq!(verifier.verify(&token), Err(Refused::UnknownKey));
    }

    #[test]
    fn a_set_without_keys_changes_nothing() {
        let (_clock, verifier, token) = rig(&signer());
        for bad in [
            "",
            "{}",
            r#"{"keys": []}"#,
            r#"{"keys": [{"kty": "oct", "k": "AA"}]}"#,
        ] {
            assert!(verifier.set_keys(bad).is_err(), "{bad}");
        }
        verifier.verify(&token).unwrap();
    }
}
