//! The session of the person at the tool: opened by `palinode sign-in`, kept in a file that nobody else can
//! read, renewed when a command needs it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use http::{Method, StatusCode};
use palinode_values::Clock;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::gateway::Gateway;

/// A token that is good for less than this is renewed before it is used.
const RENEWED_BEFORE: Duration = Duration::from_secs(60);

/// Sessions by the address of their gateway.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Sessions(BTreeMap<String, Session>);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Session {
    user_name: String,
    access_token: String,
    refresh_token: String,
    /// Seconds since 1970.
    expires_at: u64,
}

/// Where the file is: `$PALINODE_SESSIONS`, else `palinode/sessions.json` in the user's folder of
/// settings.
fn file() -> anyhow::Result<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    if let Some(file) = folder("PALINODE_SESSIONS") {
        return Ok(file);
    }
    let settings = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")));
    let settings = settings.context("there is no home folder: say PALINODE_SESSIONS=FILE")?;
    Ok(settings.join("palinode/sessions.json"))
}

fn read(file: &Path) -> anyhow::Result<Sessions> {
    match fs::read(file) {
        Ok(text) => serde_json::from_slice(&text)
            .with_context(|| format!("{} is no file of sessions: remove it", file.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Sessions::default()),
        Err(error) => Err(error).with_context(|| format!("reading {}", file.display())),
    }
}

/// Whole or not at all: another command may read it just now.
fn write(file: &Path, sessions: &Sessions) -> anyhow::Result<()> {
    let folder = file.parent().context("a file is in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("the folder {}", folder.display()))?;
    // made for its owner alone
    let mut next = tempfile::NamedTempFile::new_in(folder)?;
    next.write_all(serde_json::to_string_pretty(sessions)?.as_bytes())?;
    next.persist(file)
        .with_context(|| format!("writing {}", file.display()))?;
    Ok(())
}

fn now() -> u64 {
    u64::try_from(Clock::system().now().timestamp()).unwrap_or_default()
}

fn session_of(answer: &Json, user_name: &str) -> anyhow::Result<Session> {
    let text = |field: &str| {
        let text = answer[field].as_str().map(str::to_owned);
        text.with_context(|| format!("a session without {field}"))
    };
    let user_name = answer["user"]["userName"].as_str().unwrap_or(user_name);
    Ok(Session {
        user_name: user_name.to_owned(),
        access_token: text("accessToken")?,
        refresh_token: text("refreshToken")?,
        expires_at: now() + answer["expiresIn"].as_u64().unwrap_or_default(),
    })
}

/// Opens a session at a gateway; says as whom.
///
/// # Errors
/// Wrong name or password, no answer, or the file cannot be written.
pub async fn sign_in(server: &str, login: &str, password: &str) -> anyhow::Result<String> {
    let gateway = Gateway::at(server)?;
    let credentials = json!({"login": login, "password": password});
    let answer = gateway.post("/v1/sessions", &credentials, None).await?;
    let answer = answer.success().context("signing in")?;
    let session = session_of(&answer, login)?;
    let user_name = session.user_name.clone();
    let file = file()?;
    let mut sessions = read(&file)?;
    sessions.0.insert(gateway.server().to_owned(), session);
    write(&file, &sessions)?;
    Ok(user_name)
}

/// Ends the session at a gateway; `None`: there was none.
///
/// # Errors
/// No answer, or the file cannot be written: the session is kept then.
pub async fn sign_out(server: &str) -> anyhow::Result<Option<String>> {
    let gateway = Gateway::at(server)?;
    let file = file()?;
    let mut sessions = read(&file)?;
    let Some(session) = sessions.0.remove(gateway.server()) else {
        return Ok(None);
    };
    if let Some(fresh) = fresh(&gateway, &session).await? {
        let signed = gateway.with_token(&fresh.access_token)?;
        let path = "/v1/sessions/current";
        let answer = signed.send(Method::DELETE, path, None, "".into()).await?;
        answer.success().context("signing out")?;
    }
    write(&file, &sessions)?;
    Ok(Some(session.user_name))
}

/// The session with a token that is good for a while; `None`: it is over.
async fn fresh(gateway: &Gateway, session: &Session) -> anyhow::Result<Option<Session>> {
    if session.expires_at > now() + RENEWED_BEFORE.as_secs() {
        return Ok(Some(session.clone()));
    }
    let request = json!({"refreshToken": session.refresh_token});
    let answer = gateway.post("/v1/sessions:refresh", &request, None).await?;
    if answer.status == StatusCode::UNAUTHORIZED {
        return Ok(None);
    }
    let answer = answer.success().context("renewing the session")?;
    session_of(&answer, &session.user_name).map(Some)
}

/// A client of the gateway: with `token` where one is given, else in the session that was opened there,
/// else as nobody.
///
/// # Errors
/// The session is over, or cannot be renewed.
pub async fn gateway(server: &str, token: Option<&str>) -> anyhow::Result<Gateway> {
    let gateway = Gateway::at(server)?;
    if let Some(token) = token {
        return gateway.with_token(token);
    }
    let file = file()?;
    let mut sessions = read(&file)?;
    let Some(session) = sessions.0.get(gateway.server()) else {
        return Ok(gateway);
    };
    let Some(fresh) = fresh(&gateway, session).await? else {
        bail!(
            "the session of {} at {server} is over: `palinode sign-in {0} --server {server}`",
            session.user_name
        );
    };
    let token = fresh.access_token.clone();
    if token != session.access_token {
        sessions.0.insert(gateway.server().to_owned(), fresh);
        write(&file, &sessions)?;
    }
    gateway.with_token(&token)
}
