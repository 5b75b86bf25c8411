//! Tokens for the lab's clients: of the keys in identity's database where that is at hand, else of an
//! account each.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use http::HeaderValue;
use palinode_auth::{Grant, Role};
use palinode_db::Area;
use palinode_identity::Mint;
use palinode_rpc::Channel;
use palinode_values::UserId;
use serde_json::json;
use tokio::time::Instant;
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Status};

use crate::gateway::Gateway;
use crate::prepare::connect;
use crate::seed;

/// How long a minted token is good for.
const LIFETIME: Duration = Duration::from_secs(3_600);
/// A token is used this long: less than one of a session is good for.
const USED_FOR: Duration = Duration::from_secs(600);

/// Somebody who calls.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Who {
    name: String,
    role: Role,
}

impl Who {
    /// A customer of that name.
    #[must_use]
    pub fn customer(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            role: Role::Customer,
        }
    }

    /// Somebody with a role.
    #[must_use]
    pub fn with(name: &str, role: Role) -> Self {
        Self {
            name: name.to_owned(),
            role,
        }
    }

    /// Who may do everything but buy.
    #[must_use]
    pub fn admin() -> Self {
        Self {
            name: "admin".to_owned(),
            role: Role::Admin,
        }
    }
}

/// What somebody is known by, and shows.
#[derive(Debug, Clone)]
pub struct Pass {
    /// `authorization`.
    pub header: HeaderValue,
    /// The id of the user.
    pub user: String,
}

/// Where passes come from.
enum Source {
    Mint(Mint),
    Accounts(Box<Gateway>),
}

/// Gives passes, and remembers them.
pub struct Passes {
    source: Source,
    given: Mutex<HashMap<Who, (Pass, Instant)>>,
}

impl std::fmt::Debug for Passes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passes").finish_non_exhaustive()
    }
}

impl Passes {
    fn of_source(source: Source) -> Self {
        Self {
            source,
            given: Mutex::default(),
        }
    }

    /// Signs with the key of the platform whose databases are on this server.
    ///
    /// # Errors
    /// The database does not answer, or was not migrated.
    pub async fn minted(server: &str) -> anyhow::Result<Self> {
        let db = connect(server, Area::Identity).await?;
        let mint = Mint::open(&db).await.context("the keys of identity");
        db.close().await;
        Ok(Self::of_source(Source::Mint(mint?)))
    }

    /// Signs in with the accounts of `palinode dev`, and registers whom it does not find.
    #[must_use]
    pub fn of_accounts(nobody: Gateway) -> Self {
        Self::of_source(Source::Accounts(Box::new(nobody)))
    }

    /// The pass of somebody.
    ///
    /// # Errors
    /// He cannot sign in.
    pub async fn of(&self, who: &Who) -> anyhow::Result<Pass> {
        let known = {
            let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
            given.get(who).cloned()
        };
        if let Some((pass, at)) = known
            && at.elapsed() < USED_FOR
        {
            return Ok(pass);
        }
        let pass = match &self.source {
            Source::Mint(mint) => {
                let subject: UserId = who.name.parse()?;
                let grant = Grant {
                    subject,
                    roles: vec![who.role],
                    session: None,
                    lifetime: LIFETIME,
                };
                pass(&mint.token(&grant)?, &who.name)?
            }
            Source::Accounts(gateway) => sign_in(gateway, who).await?,
        };
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.insert(who.clone(), (pass.clone(), Instant::now()));
        Ok(pass)
    }
}

fn pass(token: &str, user: &str) -> anyhow::Result<Pass> {
    let mut header = HeaderValue::from_str(&format!("Bearer {token}"))?;
    header.set_sensitive(true);
    Ok(Pass {
        header,
        user: user.to_owned(),
    })
}

async fn sign_in(gateway: &Gateway, who: &Who) -> anyhow::Result<Pass> {
    let password = seed::password(&who.name);
    let credentials = json!({"login": who.name, "password": password});
    let mut answer = gateway.post("/v1/sessions", &credentials, None).await?;
    if answer.status == http::StatusCode::UNAUTHORIZED {
        ensure!(
            who.role == Role::Customer,
            "{} of `palinode dev` cannot sign in there",
            who.name
        );
        let account = json!({
            "userName": who.name,
            "email": format!("{}@example.org", who.name),
            "password": password,
        });
        let registered = gateway.post("/v1/users", &account, None).await?;
        let registered = registered.success();
        registered.with_context(|| format!("registering {}", who.name))?;
        answer = gateway.post("/v1/sessions", &credentials, None).await?;
    }
    let session = answer.success().context("signing in")?;
    let token = session["accessToken"].as_str().context("no token")?;
    let user = session["user"]["userId"].as_str().context("no user")?;
    pass(token, user)
}

/// Shows a pass with every call of a gRPC client.
#[derive(Debug, Clone)]
pub struct Signed(AsciiMetadataValue);

impl Interceptor for Signed {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// A channel on which every call shows this pass.
pub type SignedChannel = InterceptedService<Channel, Signed>;

/// Calls through `channel` show `pass`.
///
/// # Errors
/// The pass is no text.
pub fn signed(channel: Channel, pass: &Pass) -> anyhow::Result<SignedChannel> {
    let value = AsciiMetadataValue::try_from(pass.header.as_bytes())?;
    Ok(InterceptedService::new(channel, Signed(value)))
}
