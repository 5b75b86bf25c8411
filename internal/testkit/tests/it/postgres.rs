//! The PostgreSQL launcher.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use palinode_testkit::postgres::{Cluster, Error, Options, Source};
use palinode_testkit::{eventually, skipped};
use sqlx::{Connection, Executor, PgConnection, Row};

const SOON: Duration = Duration::from_secs(60);

fn options(data_dir: Option<&Path>) -> Options {
    Options {
        source: Source::from_env(),
        data_dir: data_dir.map(Path::to_owned),
        ..Options::default()
    }
}

async fn one(cluster: &Cluster, sql: &'static str) -> String {
    let mut connection = PgConnection::connect(&cluster.admin_url()).await.unwrap();
    connection.fetch_one(sql).await.unwrap().get(0)
}

fn is_running(pid: u32) -> bool {
    // Of a zombie nothing is left but its name: it has ended.
    let status = Command::new("ps")
        .args(["-o", "stat=", "-p", &pid.to_string()])
        .output()
        .unwrap();
    let status = String::from_utf8(status.stdout).unwrap();
    !status.trim().is_empty() && !status.starts_with('Z')
}

#[tokio::test]
async fn a_cluster_is_durable_private_and_leaves_nothing_behind() {
    let cluster = Cluster::start(options(None)).await.unwrap();
    for setting in [
        "SHOW fsync",
        "SHOW full_page_writes",
        "SHOW synchronous_commit",
    ] {
        assert_eq!(one(&cluster, setting).await, "on", "{setting}");
    }
    assert_eq!(one(&cluster, "SHOW listen_addresses").await, "127.0.0.1");
    assert_eq!(one(&cluster, "SHOW max_connections").await, "200");
    assert!(cluster.version().starts_with("postgres (PostgreSQL) "));

    let wrong = format!(
        "postgres://postgres:guess@127.0.0.1:{}/postgres",
        cluster.port()
    );
    let refused = PgConnection::connect(&wrong).await.unwrap_err();
    let code = refused
        .as_database_error()
        .unwrap()
        .code()
        .unwrap()
        .into_owned();
    assert_eq!(code, "28P01", "the password is asked for");

    let (pid, folder) = (cluster.pid(), cluster.data_dir().to_owned());
    assert!(is_running(pid) && folder.exists());
    cluster.stop().await;
    assert!(!is_running(pid), "the server ended");
    assert!(!folder.exists(), "its folder is gone");
}

#[tokio::test]
async fn a_kept_folder_keeps_its_data() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let first = Cluster::start(options(Some(&data_dir))).await.unwrap();
    let mut connection = PgConnection::connect(&first.admin_url()).await.unwrap();
    connection
        .execute("CREATE TABLE kept AS SELECT 'still here' AS word")
        .await
        .unwrap();
    drop(connection);

    let refused = Cluster::start(options(Some(&data_dir))).await.unwrap_err();
    assert!(
        matches!(refused, Error::InUse(_)),
        "one server a folder: {refused}"
    );

    first.stop().await;
    let second = Cluster::start(options(Some(&data_dir))).await.unwrap();
    assert_eq!(one(&second, "SELECT word FROM kept").await, "still here");
    second.stop().await;
}

#[tokio::test]
async fn clients_use_the_socket_where_its_path_can_be_one() {
    const VIA: &str = "SELECT CASE WHEN inet_client_addr() IS NULL THEN 'socket' ELSE 'TCP' END";
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("data");
    fs::create_dir(&plain).unwrap();
    for name in ["with a blank", &"l".repeat(100)] {
        let data_dir = folder.path().join(name);
        let cluster = Cluster::start(options(Some(&data_dir))).await.unwrap();
        assert_eq!(one(&cluster, VIA).await, "TCP", "{name}");
        cluster.stop().await;
    }
    let cluster = Cluster::start(options(Some(&plain))).await.unwrap();
    assert_eq!(one(&cluster, VIA).await, "socket");
    cluster.stop().await;
    let left = plain.join("pgdata/.s.PGSQL.1");
    fs::write(&left, "of a server that was killed").unwrap();
    let cluster = Cluster::start(options(Some(&plain))).await.unwrap();
    assert!(!left.exists());
    cluster.stop().await;
}

#[tokio::test]
async fn a_server_whose_owner_was_killed_is_stopped_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(options(Some(folder.path()))).await.unwrap();
    let data_dir = cluster.data_dir().to_owned();
    cluster.stop().await;
    // By hand, as if the owner had died on a system without a parent-death signal.
    let mut orphan = orphan(&data_dir);
    let pid_file = data_dir.join("pgdata/postmaster.pid");
    eventually(SOON, "the orphan serves", async || {
        let text = fs::read_to_string(&pid_file).ok()?;
        let its_own = text.starts_with(&format!("{}\n", orphan.id()));
        (its_own && text.trim_end().ends_with("ready")).then_some(())
    })
    .await;
    assert!(orphan.try_wait().unwrap().is_none());

    let next = Cluster::start(options(Some(folder.path()))).await.unwrap();
    assert!(orphan.try_wait().unwrap().is_some(), "the orphan ended");
    assert_eq!(one(&next, "SELECT 'answers'").await, "answers");
    next.stop().await;
}

/// Starts a server in the data folder that nobody holds the lock for.
fn orphan(data_dir: &Path) -> std::process::Child {
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::process::CommandExt;

    let pgdata = data_dir.join("pgdata");
    let options = fs::read_to_string(pgdata.join("postmaster.opts")).unwrap();
    let program = options.split_whitespace().next().unwrap();
    let owner = fs::metadata(&pgdata).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut command = Command::new(program);
    command
        .arg("-D")
        .arg(&pgdata)
        .arg("-p")
        .arg(port.to_string());
    command
        .args(["-c", "unix_socket_directories="])
        .current_dir("/");
    if rustix::process::geteuid().is_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    command.stderr(Stdio::null()).spawn().unwrap()
}

#[tokio::test]
async fn the_server_dies_with_its_process() {
    // `timeout` is the process that is killed: it runs this very test binary's other half.
    if std::env::var_os("PALINODE_TESTKIT_VICTIM").is_some() {
        let cluster = Cluster::start(options(None)).await.unwrap();
        fs::write(
            std::env::var_os("PALINODE_TESTKIT_VICTIM").unwrap(),
            cluster.pid().to_string(),
        )
        .unwrap();
        std::future::pending::<()>().await;
    }
    if !cfg!(target_os = "linux") {
        skipped(
            "postgres::the_server_dies_with_its_process",
            "only Linux has a parent-death signal",
        );
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("pid");
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "postgres::the_server_dies_with_its_process"])
        .env("PALINODE_TESTKIT_VICTIM", &report)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pid: u32 = eventually(SOON, "the victim starts its server", async || {
        fs::read_to_string(&report).ok()?.parse().ok()
    })
    .await;
    assert!(is_running(pid));
    victim.kill().unwrap();
    victim.wait().unwrap();
    eventually(SOON, "the server ends", async || {
        (!is_running(pid)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn another_major_version_is_refused_and_nothing_is_upgraded() {
    let folder = tempfile::tempdir().unwrap();
    Cluster::start(options(Some(folder.path())))
        .await
        .unwrap()
        .stop()
        .await;
    let version = folder.path().join("pgdata/PG_VERSION");
    fs::write(&version, "12\n").unwrap();
    let refused = Cluster::start(options(Some(folder.path())))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, Error::WrongMajor { found: 12, .. }),
        "{refused}"
    );
    fs::write(&version, "no number").unwrap();
    let refused = Cluster::start(options(Some(folder.path())))
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::Damaged { .. }), "{refused}");
}

#[tokio::test]
async fn damage_is_named_with_the_servers_own_words() {
    let folder = tempfile::tempdir().unwrap();
    Cluster::start(options(Some(folder.path())))
        .await
        .unwrap()
        .stop()
        .await;
    fs::remove_file(folder.path().join("pgdata/global/pg_control")).unwrap();
    let refused = Cluster::start(options(Some(folder.path())))
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::Start { .. }), "{refused}");
    assert!(refused.to_string().contains("pg_control"), "{refused}");
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let refused = Cluster::start(Options {
        port: Some(port),
        ..options(None)
    })
    .await
    .unwrap_err();
    assert!(
        matches!(refused, Error::PortTaken(named) if named == port),
        "{refused}"
    );
}

#[tokio::test]
async fn the_pinned_build_is_fetched_and_serves() {
    const NAME: &str = "postgres::the_pinned_build_is_fetched_and_serves";
    if Source::from_env() != Source::Fetch {
        skipped(NAME, "it downloads; set PALINODE_PG_BIN=fetch");
        return;
    }
    let cluster = Cluster::start(options(None)).await.unwrap();
    assert_eq!(cluster.version(), "postgres (PostgreSQL) 18.6");
    assert_eq!(one(&cluster, "SHOW server_version").await, "18.6");
    cluster.stop().await;
}

#[tokio::test]
async fn without_a_network_the_package_to_install_is_named() {
    const NAME: &str = "postgres::without_a_network_the_package_to_install_is_named";
    if std::env::var_os("PALINODE_TESTKIT_VICTIM").is_some() {
        let fetch = Options {
            source: Source::Fetch,
            ..Options::default()
        };
        let refused = Cluster::start(fetch).await.unwrap_err();
        assert!(matches!(refused, Error::Fetch { .. }), "{refused}");
        assert!(
            refused.to_string().contains("apt-get install postgresql"),
            "{refused}"
        );
        return;
    }
    // A proxy that is not there, and a cache that has nothing yet.
    let cache = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", NAME])
        .env("PALINODE_TESTKIT_VICTIM", "1");
    child
        .env("PALINODE_CACHE_DIR", cache.path())
        .env("HTTPS_PROXY", "http://127.0.0.1:1");
    assert!(
        child
            .env("https_proxy", "http://127.0.0.1:1")
            .status()
            .unwrap()
            .success()
    );
}
