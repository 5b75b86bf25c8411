//! A relay in a process of its own, that is killed and stopped as a machine does it.

use std::process::{Command, Stdio};

use palinode_messaging::{BrokerKind, Kafka, Producer};
use palinode_outbox::Doorbell;
use palinode_relay::{Mode, Options, Relay, Source};
use palinode_telemetry::Tracer;
use palinode_testkit::eventually;
use palinode_testkit::process::Child;
use palinode_values::Clock;
use rustix::process::Signal;
use tokio_util::sync::CancellationToken;

use crate::stack::{LIMIT, Stack, count, quick};
use crate::writers::Writers;

const URL: &str = "PALINODE_TEST_RELAY_URL";
const BROKER: &str = "PALINODE_TEST_RELAY_BROKER";
const PREFIX: &str = "PALINODE_TEST_RELAY_PREFIX";
const MODE: &str = "PALINODE_TEST_RELAY_MODE";

/// What the other process runs: this program again, with this test alone. Without its variables it
/// is nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_process() {
    let text = |name| std::env::var_os(name).map(|value| value.into_string().unwrap());
    let Some(url) = text(URL) else { return };
    let kafka = Kafka {
        bootstrap: text(BROKER).unwrap(),
        prefix: text(PREFIX).unwrap(),
        broker: BrokerKind::Real,
    };
    let options = palinode_db::Options {
        url,
        service: "other".to_owned(),
        connections_max: palinode_relay::CONNECTIONS,
    };
    let source = Source {
        name: "other".to_owned(),
        db: palinode_db::Db::connect(&options).await.unwrap(),
        doorbell: Doorbell::new(),
    };
    let mode = match text(MODE).as_deref() {
        Some("log") => Mode::Log,
        _ => Mode::Queue,
    };
    let options = Options { mode, ..quick() };
    let producer = Producer::start(&kafka).unwrap();
    let relay = Relay::new(
        options,
        vec![source],
        producer,
        Tracer::disabled(),
        Clock::system(),
    );
    relay.run(CancellationToken::new()).await;
}

fn spawn(stack: &Stack) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "processes::other_process"])
        .env(URL, &stack.database.url)
        .env(BROKER, &stack.kafka.bootstrap)
        .env(PREFIX, &stack.kafka.prefix)
        .env(
            MODE,
            if stack.mode == Mode::Log {
                "log"
            } else {
                "queue"
            },
        )
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Child::spawn("relay", command, Signal::KILL).unwrap()
}

/// Rises by one with each lane that is taken.
const TAKEN: &str = "SELECT sum(epoch)::bigint FROM outbox_lane";

async fn killed_again_and_again(mode: Mode) {
    let mut stack = Stack::in_mode(mode, 2).await;
    let writers = Writers::start(&stack, 4, 150).await;
    let mut seen = 0;
    for _ in 0..3 {
        let child = spawn(&stack);
        stack.see(seen + 40).await;
        child.signal(Signal::KILL);
        child.wait(LIMIT).expect("it was killed");
        seen = stack.seen.len();
    }
    let relay = stack.relay();
    writers.done().await;
    let sum = stack.check().await;
    assert!(sum.committed > 600, "{sum:?}");
    assert!(sum.repeats <= 3 * 5_000, "{sum:?}");
    relay.stop().await;
    stack.end().await;
}

async fn stopped_beyond_its_lease(mode: Mode) {
    let mut stack = Stack::in_mode(mode, 2).await;
    let writers = Writers::start(&stack, 4, 150).await;
    let child = spawn(&stack);
    stack.see(20).await;
    child.signal(Signal::STOP);
    let before = count(&stack.db, TAKEN).await;
    let mut relay = stack.relay();
    relay.until("it has all", |status| status.lanes == 64).await;
    assert!(count(&stack.db, TAKEN).await >= before + 64);
    // it wakes with pages in hand that are somebody else's by now
    child.signal(Signal::CONT);
    eventually(LIMIT, "both share", async || {
        (relay.status[0].borrow().lanes <= 32).then_some(())
    })
    .await;
    writers.done().await;
    stack.check().await;
    child.signal(Signal::KILL);
    child.wait(LIMIT).expect("it was killed");
    relay.stop().await;
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_loses_nothing() {
    killed_again_and_again(Mode::Queue).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_loses_nothing_of_a_log() {
    killed_again_and_again(Mode::Log).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_stopped_beyond_its_lease_breaks_no_order() {
    stopped_beyond_its_lease(Mode::Queue).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_stopped_beyond_its_lease_breaks_no_order_of_a_log() {
    stopped_beyond_its_lease(Mode::Log).await;
}
