//! What a service needs of identity: the keys that tokens are verified with, and a token of its own.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use palinode_pb::identity::v1::identity_service_client::IdentityServiceClient;
use palinode_pb::identity::v1::{CreateServiceTokenRequest, GetKeysRequest};
use palinode_rpc::{Authorizer, Channel, Credentials};
use tokio::time::Instant;

use crate::config::Secret;
use crate::readiness::Condition;

/// How often keys are read again, though nobody asks: less than the time for which a new key is published
/// before it signs.
const KEYS_EVERY: Duration = Duration::from_secs(300);
/// However many tokens name unknown keys, identity is not asked more often.
const KEYS_PAUSE: Duration = Duration::from_secs(1);
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// A token is renewed when this part of its life is over, so that identity may be away for the rest of it.
const RENEWED_AFTER: f64 = 0.5;

fn pauses() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(RETRY_MIN)
        .with_max_delay(RETRY_MAX)
        .without_max_times()
        .with_jitter()
        .build()
}

/// Gives a authorizer its keys.
pub(crate) struct Keys {
    pub(crate) identity: Channel,
    pub(crate) authorizer: Authorizer,
    pub(crate) known: Option<Condition>,
}

impl Keys {
    /// For ever.
    pub(crate) async fn keep(self) {
        loop {
            self.fetch().await;
            if let Some(known) = &self.known {
                known.set(true);
            }
            let fetched = Instant::now();
            tokio::select! {
                () = tokio::time::sleep(KEYS_EVERY) => {}
                () = self.authorizer.keys_wanted() => {
                    tokio::time::sleep_until(fetched + KEYS_PAUSE).await;
                }
            }
        }
    }

    /// Until there is an answer. The keys of before serve as long as there is none.
    async fn fetch(&self) {
        for pause in pauses() {
            let mut client = IdentityServiceClient::new(self.identity.clone());
            let taken = match client.get_keys(GetKeysRequest {}).await {
                Ok(answer) => String::from_utf8_lossy(&answer.into_inner().data).into_owned(),
                Err(status) => {
                    tracing::debug!(%status, "identity does not tell its keys");
                    tokio::time::sleep(pause).await;
                    continue;
                }
            };
            match self.authorizer.set_keys(&taken) {
                Ok(()) => return,
                Err(error) => tracing::error!(%error, "the keys of identity are not taken over"),
            }
            tokio::time::sleep(pause).await;
        }
    }
}

/// Renews the token of a service.
pub(crate) struct OwnToken {
    pub(crate) identity: Channel,
    pub(crate) service: &'static str,
    pub(crate) secret: Secret,
    pub(crate) credentials: Credentials,
    pub(crate) known: Condition,
}

impl OwnToken {
    /// For ever.
    pub(crate) async fn keep(self) {
        loop {
            let lifetime = self.fetch().await;
            self.known.set(true);
            tokio::time::sleep(lifetime.mul_f64(RENEWED_AFTER)).await;
        }
    }

    /// Until there is one; how long it is good for.
    async fn fetch(&self) -> Duration {
        for pause in pauses() {
            let request = CreateServiceTokenRequest {
                service: self.service.to_owned(),
                secret: self.secret.expose().to_owned(),
            };
            let mut client = IdentityServiceClient::new(self.identity.clone());
            match client.create_service_token(request).await {
                Ok(answer) => {
                    let answer = answer.into_inner();
                    self.credentials.set(&answer.access_token);
                    return Duration::from_secs(
                        u64::try_from(answer.expires_in).unwrap_or(1).max(1),
                    );
                }
                Err(status) if status.code() == palinode_rpc::Code::Unauthenticated => {
                    tracing::error!("identity refuses --service-secret: is it another one there?");
                }
                Err(status) => tracing::debug!(%status, "identity gives no token"),
            }
            tokio::time::sleep(pause).await;
        }
        RETRY_MAX
    }
}
