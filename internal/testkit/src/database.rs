//! Databases: one for each area on a given server, and one for each test.

use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::try_join_all;
use palinode_db::{Area, Db};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::{mpsc, oneshot};

use crate::postgres::{Cluster, Options, Source};
use crate::{Progress, eventually};

/// Why databases could not be created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server could not be reached, or refused us. Its address is left out: it is a secret.
    #[error("no connection to PostgreSQL")]
    Connect(#[source] sqlx::Error),
    /// A database could not be created.
    #[error("the database {name} could not be created")]
    Create {
        /// The database.
        name: String,
        /// What the server said.
        source: sqlx::Error,
    },
}

/// Creates the database `<prefix><area>` for each area, unless it exists already.
///
/// Shape: the areas in their own order, each with the address of its database: `admin_url` with
/// another database name. The databases are not migrated.
///
/// # Errors
/// `Connect`: check the address. `Create`: the role may not create databases, or the disk is full.
pub async fn create_databases(admin_url: &str, prefix: &str) -> Result<Vec<(Area, String)>, Error> {
    // at the same time, because each waits for the disk most of its time
    let databases = Area::ALL.into_iter().map(async |area| {
        let name = format!("{prefix}{}", area.name());
        let mut admin = PgConnection::connect(admin_url)
            .await
            .map_err(Error::Connect)?;
        let created = create(&mut admin, &name, None).await;
        admin.close().await.ok();
        match created {
            // There already, from an earlier start or by somebody who did the same just now.
            Err(sqlx::Error::Database(error)) if is_duplicate(error.as_ref()) => {}
            Err(source) => return Err(Error::Create { name, source }),
            Ok(()) => {}
        }
        Ok((area, with_database(admin_url, &name)))
    });
    try_join_all(databases).await
}

/// `url` with another database name; parameters stay as they are.
#[must_use]
pub fn with_database(url: &str, database: &str) -> String {
    let (address, parameters) = match url.split_once('?') {
        Some((address, parameters)) => (address, format!("?{parameters}")),
        None => (url, String::new()),
    };
    let (scheme, rest) = address.split_once("://").unwrap_or(("postgres", address));
    let server = rest.split('/').next().unwrap_or(rest);
    format!("{scheme}://{server}/{database}{parameters}")
}

fn is_duplicate(error: &dyn sqlx::error::DatabaseError) -> bool {
    // duplicate_database; unique_violation when two create the same one at the same moment.
    matches!(error.code().as_deref(), Some("42P04" | "23505"))
}

async fn create(
    admin: &mut PgConnection,
    name: &str,
    template: Option<&str>,
) -> Result<(), sqlx::Error> {
    let template = template.map(|template| format!(" TEMPLATE {}", quoted(template)));
    let sql = format!(
        "CREATE DATABASE {}{}",
        quoted(name),
        template.unwrap_or_default()
    );
    execute(admin, sql).await
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a database's name is no parameter, and such statements cannot be prepared"
)]
async fn execute(admin: &mut PgConnection, sql: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(admin)
        .await
        .map(drop)
}

/// A migrated database for one test. It is dropped some time after this is.
#[derive(Debug)]
pub struct TestDatabase {
    /// Its address, with the password.
    pub url: String,
    /// Its name on the server.
    pub name: String,
    requests: mpsc::UnboundedSender<Request>,
}

impl TestDatabase {
    /// A connection of the test's own.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url)
            .await
            .expect("the test server accepts connections")
    }

    /// Waits until a statement with these words is kept waiting for a lock.
    ///
    /// # Panics
    /// When none is for half a minute, or the server does not answer.
    #[expect(clippy::disallowed_methods, reason = "asks the server about itself")]
    pub async fn until_locked_out(&self, words: &str) {
        let mut watch = self.connect().await;
        let what = format!("a statement with {words:?} waits for a lock");
        eventually(Duration::from_secs(30), &what, async || {
            let waiting = sqlx::query_scalar(
                "SELECT count(*) > 0 FROM pg_stat_activity
                  WHERE datname = current_database() AND wait_event_type = 'Lock'
                    AND strpos(query, $1) > 0",
            );
            let waiting: bool = waiting
                .bind(words)
                .fetch_one(&mut watch)
                .await
                .expect("the test server answers");
            waiting.then_some(())
        })
        .await;
    }

    /// A pool, as a service has one.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn db(&self) -> Db {
        let options = palinode_db::Options {
            url: self.url.clone(),
            service: "test".to_owned(),
            connections_max: 4,
        };
        Db::connect(&options)
            .await
            .expect("the test server accepts connections")
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // Nobody hears it when the cluster could not start or the process ends: then there is
        // nothing to drop.
        self.requests
            .send(Request::Drop {
                name: self.name.clone(),
            })
            .ok();
    }
}

/// A fresh database with the tables of `area`, on a cluster that all tests of this process share.
///
/// The first call starts the cluster (`PALINODE_PG_BIN` chooses the binaries), the first call for
/// an area migrates a template; each later one copies it in some ten milliseconds.
///
/// # Panics
/// When there is no PostgreSQL to be had or a migration fails; the message says which.
pub async fn test_database(area: Area) -> TestDatabase {
    let requests = shared();
    let (reply, answer) = oneshot::channel();
    requests
        .send(Request::Create { area, reply })
        .expect("the cluster's thread never ends");
    match answer.await.expect("the cluster's thread answers") {
        Ok((name, url)) => TestDatabase {
            url,
            name,
            requests: requests.clone(),
        },
        Err(error) => panic!("no database for this test: {error}"),
    }
}

enum Request {
    Create {
        area: Area,
        reply: oneshot::Sender<Result<(String, String), String>>,
    },
    Drop {
        name: String,
    },
}

/// The one cluster of this process. It has a thread and a runtime of its own, because it outlives
/// the runtime of the test that happens to come first; it ends with the process.
fn shared() -> &'static mpsc::UnboundedSender<Request> {
    static SHARED: OnceLock<mpsc::UnboundedSender<Request>> = OnceLock::new();
    SHARED.get_or_init(|| {
        let (sender, requests) = mpsc::unbounded_channel();
        thread::Builder::new()
            .name("test-cluster".to_owned())
            .spawn(move || {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime can be built")
                    .block_on(serve(requests));
            })
            .expect("a thread can be started");
        sender
    })
}

async fn serve(mut requests: mpsc::UnboundedReceiver<Request>) {
    let mut templates = match Templates::start().await {
        Ok(templates) => Ok(templates),
        Err(error) => Err(format!("{error:#}")),
    };
    while let Some(request) = requests.recv().await {
        match (request, &mut templates) {
            (Request::Create { area, reply }, Ok(templates)) => {
                let created = templates.copy(area).await;
                // A test that was given up meanwhile does not wait for it.
                reply
                    .send(created.map_err(|error| format!("{error:#}")))
                    .ok();
            }
            (Request::Create { reply, .. }, Err(error)) => drop(reply.send(Err(error.clone()))),
            (Request::Drop { name }, Ok(templates)) => templates.drop_database(&name).await,
            (Request::Drop { .. }, Err(_)) => {}
        }
    }
}

/// The shared cluster and the templates that it has already.
struct Templates {
    cluster: Cluster,
    admin: PgConnection,
    ready: Vec<Area>,
    created: u32,
}

impl Templates {
    async fn start() -> anyhow::Result<Templates> {
        let options = Options {
            source: Source::from_env(),
            progress: Progress::Stderr,
            // a writer that has only prepared is a case of its own for who reads an outbox
            settings: vec!["max_prepared_transactions=4".to_owned()],
            ..Options::default()
        };
        let cluster = Cluster::start(options).await?;
        let admin = PgConnection::connect(&cluster.admin_url()).await?;
        Ok(Templates {
            cluster,
            admin,
            ready: Vec::new(),
            created: 0,
        })
    }

    async fn copy(&mut self, area: Area) -> anyhow::Result<(String, String)> {
        let template = format!("template_{}", area.name());
        if !self.ready.contains(&area) {
            // A rest of a migration that failed before would hide the second failure's reason.
            self.drop_database(&template).await;
            create(&mut self.admin, &template, None)
                .await
                .context("creating a template")?;
            palinode_db::migrate(&self.cluster.url(&template), area)
                .await
                .with_context(|| format!("migrating the area {}", area.name()))?;
            self.ready.push(area);
        }
        self.created += 1;
        let name = format!("test_{}_{}", area.name(), self.created);
        create(&mut self.admin, &name, Some(&template))
            .await
            .context("copying a template")?;
        let url = self.cluster.url(&name);
        Ok((name, url))
    }

    /// Best effort: the whole cluster is thrown away in the end.
    async fn drop_database(&mut self, name: &str) {
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoted(name));
        if let Err(error) = execute(&mut self.admin, sql).await {
            tracing::debug!(name, %error, "a test's database was not dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_database_of_an_address_is_replaced() {
        let check = |url, expect: &str| assert_eq!(with_database(url, "saga"), expect);
        check(
            "postgres://u:p@h:5432/postgres",
            "postgres://u:p@h:5432/saga",
        );
        check("postgres://u:p@h:5432", "postgres://u:p@h:5432/saga");
        check(
            "postgresql://h/a?sslmode=disable",
            "postgresql://h/saga?sslmode=disable",
        );
        check(
            "postgres://h?options=-c%20x=/y",
            "postgres://h/saga?options=-c%20x=/y",
        );
    }

    #[test]
    fn names_are_quoted() {
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
    }
}
