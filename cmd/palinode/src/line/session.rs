use std::io::{IsTerminal, Write, stdin, stdout};

use anyhow::Context;
use clap::Args;
use palinode_lab::session;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  palinode sign-in operator
  palinode sign-in operator < password.txt")]
pub(crate) struct SignIn {
    /// User name or e-mail address
    login: String,
    #[command(flatten)]
    at: Server,
    /// The password [default: asked for, or the first line of the standard input]
    #[arg(
        long,
        env = "PALINODE_PASSWORD",
        hide_env_values = true,
        hide = true,
        value_name = "PASSWORD"
    )]
    password: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  palinode sign-out")]
pub(crate) struct SignOut {
    #[command(flatten)]
    at: Server,
}

#[derive(Debug, Args)]
struct Server {
    /// The gateway
    #[arg(
        long,
        env = "PALINODE_SERVER",
        value_name = "URL",
        default_value = "http://127.0.0.1:8080"
    )]
    server: String,
}

impl SignIn {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let password = match self.password {
            Some(password) => password,
            None => asked(&self.login)?,
        };
        let name = session::sign_in(&self.at.server, &self.login, &password).await?;
        writeln!(stdout(), "signed in as {name} at {}", self.at.server)?;
        Ok(())
    }
}

fn asked(login: &str) -> anyhow::Result<String> {
    if stdin().is_terminal() {
        return rpassword::prompt_password(format!("password of {login}: "))
            .context("the password cannot be read");
    }
    let mut line = String::new();
    stdin()
        .read_line(&mut line)
        .context("the password cannot be read")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

impl SignOut {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let server = &self.at.server;
        match session::sign_out(server).await? {
            Some(name) => writeln!(stdout(), "{name} is signed out at {server}")?,
            None => writeln!(stdout(), "nobody was signed in at {server}")?,
        }
        Ok(())
    }
}
