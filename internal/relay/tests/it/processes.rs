//! A relay in a process of its own, that is killed and stopped as a machine does it.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use palinode_messaging::{BrokerKind, Delivery, Error, Kafka, Outgoing, Permit, Producer};
use palinode_outbox::Doorbell;
use palinode_relay::{Mode, Publisher, Relay, Source};
use palinode_telemetry::Tracer;
use palinode_testkit::eventually;
use palinode_testkit::process::Child;
use palinode_values::Clock;
use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::stack::{LIMIT, Stack, count, quick};
use crate::writers::Writers;

const URL: &str = "PALINODE_TEST_RELAY_URL";
const BROKER: &str = "PALINODE_TEST_RELAY_BROKER";
const PREFIX: &str = "PALINODE_TEST_RELAY_PREFIX";
const DIES: &str = "PALINODE_TEST_RELAY_DIES";

/// Where a process kills itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// A page was read, and nothing of it is handed over.
    Read,
    /// It is handed over to the client of Kafka, which may have sent some of it.
    Enqueued,
    /// Kafka has acknowledged it, and no row says so.
    Acknowledged,
    /// Its rows are deleted, or the cursor has moved over them.
    Settled,
}

impl Moment {
    const ALL: [Self; 4] = [
        Self::Read,
        Self::Enqueued,
        Self::Acknowledged,
        Self::Settled,
    ];

    fn of(name: &str) -> Option<Self> {
        let found = Self::ALL.into_iter();
        let mut found = found.filter(|moment| format!("{moment:?}") == name);
        found.next()
    }
}

/// A producer whose process dies in its third page; so that something was published before.
struct Doomed {
    inner: Producer,
    dies: Option<Moment>,
    pages: AtomicU32,
}

impl Doomed {
    fn dies_at(&self, moment: Moment) {
        if self.dies == Some(moment) && self.pages.load(Ordering::Acquire) >= 3 {
            die();
        }
    }
}

/// As `kill -9` does it: nothing is dropped, flushed or said.
fn die() {
    rustix::process::kill_process(rustix::process::getpid(), Signal::KILL).unwrap();
}

impl Publisher for Doomed {
    async fn reserve(&self, page: &[Outgoing]) -> Permit {
        self.inner.reserve(page).await
    }

    async fn send(&self, permit: Permit, page: Arc<Vec<Outgoing>>) -> Vec<Delivery> {
        self.pages.fetch_add(1, Ordering::AcqRel);
        self.dies_at(Moment::Read);
        let mut sent = std::pin::pin!(self.inner.send(permit, page));
        // once is enough for it to hand the page over, on this thread or on one of its own
        let done = futures_util::poll!(sent.as_mut());
        self.dies_at(Moment::Enqueued);
        let deliveries = match done {
            std::task::Poll::Ready(deliveries) => deliveries,
            std::task::Poll::Pending => sent.await,
        };
        self.dies_at(Moment::Acknowledged);
        deliveries
    }

    fn purge(&self) -> Result<(), Error> {
        self.inner.purge()
    }
}

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
    let dies = text(DIES).and_then(|name| Moment::of(&name));
    let producer = Doomed {
        inner: Producer::start(&kafka).unwrap(),
        dies,
        pages: AtomicU32::new(0),
    };
    let relay = Relay::new(
        quick(),
        vec![source],
        producer,
        Tracer::disabled(),
        Clock::system(),
    );
    let mut beside = JoinSet::new();
    if dies == Some(Moment::Settled) {
        let mut status = relay.status();
        beside.spawn(async move {
            let settled = status[0].wait_for(|status| status.published >= 20).await;
            settled.map(|_| die()).unwrap();
        });
    }
    relay.run(CancellationToken::new()).await;
}

fn spawn(stack: &Stack, dies: Option<Moment>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "processes::other_process"])
        .env(URL, &stack.url)
        .env(BROKER, &stack.kafka.bootstrap)
        .env(PREFIX, &stack.kafka.prefix)
        .env(
            DIES,
            dies.map_or_else(String::new, |moment| format!("{moment:?}")),
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
        let child = spawn(&stack, None);
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

/// One relay after the other dies at the same moment, while others write.
async fn killed_at_each_moment(mode: Mode) {
    for moment in Moment::ALL {
        let mut stack = Stack::in_mode(mode, 2).await;
        let writers = Writers::start(&stack, 4, 100).await;
        for _ in 0..3 {
            let child = spawn(&stack, Some(moment));
            let ended = eventually(LIMIT, "it dies", async || {
                stack.write("another", &[b"for its next page"]).await;
                child.ended()
            });
            let ended = ended.await;
            assert_eq!(ended.signal(), Some(9), "{moment:?}");
        }
        let relay = stack.relay();
        writers.done().await;
        let sum = stack.check().await;
        assert!(sum.committed > 400, "{moment:?}: {sum:?}");
        if moment == Moment::Acknowledged {
            assert!(sum.repeats > 0, "{sum:?}");
        }
        assert!(sum.repeats <= 3 * 5_000, "{moment:?}: {sum:?}");
        relay.stop().await;
        stack.end().await;
    }
}

async fn stopped_beyond_its_lease(mode: Mode) {
    let mut stack = Stack::in_mode(mode, 2).await;
    let writers = Writers::start(&stack, 4, 150).await;
    let child = spawn(&stack, None);
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
async fn a_process_that_dies_in_the_middle_of_a_page_loses_nothing() {
    killed_at_each_moment(Mode::Queue).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_dies_in_the_middle_of_a_page_loses_nothing_of_a_log() {
    killed_at_each_moment(Mode::Log).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_stopped_beyond_its_lease_breaks_no_order() {
    stopped_beyond_its_lease(Mode::Queue).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_stopped_beyond_its_lease_breaks_no_order_of_a_log() {
    stopped_beyond_its_lease(Mode::Log).await;
}
