use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::envelope::{HEADERS_USUAL, Received};
use crate::headers::Headers;
use crate::kafka::{BrokerKind, Error, Kafka, log_error, log_line};
use crate::topics::Topic;

mod batches;
mod handler;
mod inbox;
#[cfg(test)]
mod tests;
mod turns;

use batches::Batches;
pub use handler::{BatchHandler, Committed, Failure};
use inbox::{EndsLoop, Inbox};
pub use turns::Turns;

/// Records of one batch at the most: more make a transaction longer than the time it saves.
const BATCH_MAX: usize = 500;
/// How long a stop waits for the broker to take the last offsets and the farewell.
const LEAVE_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);
/// Records that are announced together at the most.
const INTAKE_MAX: usize = 500;
/// How long the thread waits for room before it pauses the partitions: it has to go on polling,
/// or the group takes it for dead.
const ROOM_WAIT: Duration = Duration::from_secs(1);
/// How long a revoke waits for the batch in hand before it is given up.
const REVOKE_WAIT: Duration = Duration::from_secs(2);

/// Who consumes what.
#[derive(Debug, Clone)]
pub struct ConsumerOptions {
    /// Where.
    pub kafka: Kafka,
    /// Name of the group after the prefix: the service's, and its part if it has several loops.
    pub group: String,
    /// What.
    pub topics: Vec<Topic>,
    /// Records of one batch at the most, 500 unless told; more make a transaction longer.
    pub batch_max: usize,
    /// Taken in turn with the other consumers of the process; `None`: without regard to them.
    pub turns: Option<Turns>,
}

impl ConsumerOptions {
    /// Options with the usual limits.
    #[must_use]
    pub fn new(kafka: &Kafka, group: &str, topics: &[Topic]) -> Self {
        Self {
            kafka: kafka.clone(),
            group: group.to_owned(),
            topics: topics.to_vec(),
            batch_max: BATCH_MAX,
            turns: None,
        }
    }
}

/// How a consumer is doing, live.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsumerStatus {
    /// The group has given us an assignment; it may be an empty one.
    pub assigned: bool,
    /// Partitions that are ours.
    pub partitions: usize,
    /// Batches that are settled: handled and their offsets stored, or parked.
    pub settled: u64,
    /// Why the batch in hand is tried again and again; `None` when all is well.
    pub waiting_for: Option<String>,
}

/// A member of a consumer group that hands batches to a handler.
///
/// Natural batching: it takes what is there, at once; the next batch grows meanwhile. Offsets are
/// stored after the handler has committed, so a crash repeats records and loses none.
#[derive(Debug)]
pub struct Consumer {
    inbox: Arc<Inbox>,
    client: Weak<BaseConsumer<Context>>,
    closed: oneshot::Receiver<()>,
    batch_max: usize,
    turns: Option<Turns>,
}

impl Consumer {
    /// Joins the group, in the background, and begins to fetch. Dropped without
    /// [`Consumer::run`], it leaves the group.
    ///
    /// # Errors
    /// `Client`: the settings are refused. `Thread`.
    pub fn start(options: &ConsumerOptions) -> Result<Self, Error> {
        let inbox = Arc::new(Inbox::new());
        let context = Context {
            inbox: Arc::clone(&inbox),
        };
        let mut config = consumer_config(&options.kafka);
        config
            .set("group.id", options.kafka.group_name(&options.group))
            .set("group.protocol", "consumer")
            .set("enable.auto.commit", "true")
            .set("auto.commit.interval.ms", "1000")
            .set("enable.auto.offset.store", "false")
            .set("max.poll.interval.ms", "300000");
        let client = BaseConsumer::from_config_and_context(&config, context)?;
        let names: Vec<_> = options
            .topics
            .iter()
            .map(|topic| options.kafka.topic_name(*topic))
            .collect();
        client.subscribe(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
        let client = Arc::new(client);
        let weak = Arc::downgrade(&client);
        let (done, closed) = oneshot::channel();
        let intake = Arc::clone(&inbox);
        thread::Builder::new()
            .name(format!("consumer-{}", options.group))
            .spawn(move || {
                let _ends_loop = EndsLoop(Arc::clone(&intake));
                poll_until_stopped(&client, &intake);
                close(client);
                done.send(()).ok(); // a loop that was dropped does not wait
            })
            .map_err(Error::Thread)?;
        Ok(Self {
            inbox,
            client: weak,
            closed,
            batch_max: options.batch_max.max(1),
            turns: options.turns.clone(),
        })
    }

    /// How it is doing; to be watched from outside while it runs.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<ConsumerStatus> {
        self.inbox.status()
    }

    /// Hands batches to `handler` until `stop`; then finishes the batch in hand, stores and
    /// commits its offsets and leaves the group. Dropped, it leaves without storing anything more.
    ///
    /// # Errors
    /// `Client`: the group refuses this member for good.
    pub async fn run<H: BatchHandler>(
        mut self,
        handler: H,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        let mut batches = Batches {
            inbox: &self.inbox,
            offsets: Offsets {
                client: Weak::clone(&self.client),
            },
            handler,
            batch_max: self.batch_max,
            turns: self.turns.clone(),
            turn: None,
        };
        batches.run(&stop).await;
        drop(batches);
        self.inbox.stop();
        // the thread ends either way, and the broker tells a member that is gone by its silence
        match timeout(LEAVE_LIMIT, &mut self.closed).await {
            Ok(Ok(())) => {}
            Ok(Err(_gone)) => {
                let why = std::io::Error::other("it ended by itself");
                return Err(Error::Thread(why));
            }
            Err(_late) => {
                tracing::warn!("the group was not left in time: its last offsets may be repeated");
            }
        }
        match self.inbox.take_failure() {
            Some(error) => Err(Error::Client(error)),
            None => Ok(()),
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.inbox.stop();
    }
}

/// Stores the offsets of what is settled.
#[derive(Debug)]
struct Offsets {
    client: Weak<BaseConsumer<Context>>,
}

impl Offsets {
    /// The records are handled, in the order given, and everything before them was too.
    fn store(&self, handled: &[Received]) {
        let Some(client) = self.client.upgrade() else {
            return;
        };
        for record in inbox::last_of_each_partition(handled) {
            let (topic, partition) = (&*record.topic, record.partition);
            // refused when the partition is no longer ours: its new owner repeats the record
            if let Err(error) = client.store_offset(topic, partition, record.offset) {
                tracing::debug!(%error, topic, partition, "an offset was not stored");
            }
        }
    }
}

/// Settings of every consumer, whatever the library's defaults become.
pub(crate) fn consumer_config(kafka: &Kafka) -> ClientConfig {
    // a real broker answers as soon as there is a record; the one in process waits it out
    let wait_ms = match kafka.broker {
        BrokerKind::InProcess => "5",
        BrokerKind::Real => "500",
    };
    let mut config = kafka.client_config();
    config
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "earliest")
        .set("fetch.min.bytes", "1")
        .set("fetch.wait.max.ms", wait_ms)
        .set("queued.min.messages", "20000")
        // the default, a second, is how long a full queue would stall
        .set("fetch.queue.backoff.ms", "10");
    config
}

/// Copies a message out of the client's memory; of a topic the name is kept once.
pub(crate) fn received(message: &BorrowedMessage<'_>, topics: &mut Vec<Arc<str>>) -> Received {
    let mut headers = Headers::with_capacity(HEADERS_USUAL);
    for header in message.headers().iter().flat_map(|headers| headers.iter()) {
        headers.push(header.key, header.value.unwrap_or_default());
    }
    Received {
        topic: known(message.topic(), topics),
        partition: message.partition(),
        offset: message.offset(),
        key: Bytes::copy_from_slice(message.key().unwrap_or_default()),
        body: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
        headers,
    }
}

/// The name as it is kept.
fn known(name: &str, topics: &mut Vec<Arc<str>>) -> Arc<str> {
    if let Some(topic) = topics.iter().find(|topic| &***topic == name) {
        return Arc::clone(topic);
    }
    let topic: Arc<str> = Arc::from(name);
    topics.push(Arc::clone(&topic));
    topic
}

/// What the thread works with.
struct Intake<'a> {
    client: &'a BaseConsumer<Context>,
    inbox: &'a Inbox,
    topics: Vec<Arc<str>>,
}

fn poll_until_stopped(client: &BaseConsumer<Context>, inbox: &Inbox) {
    let mut intake = Intake {
        client,
        inbox,
        topics: Vec::new(),
    };
    while !inbox.is_stopped() {
        if !inbox.wait_for_room(ROOM_WAIT) {
            intake.poll_paused();
        }
        intake.take(POLL);
    }
}

impl Intake<'_> {
    /// The handler is slow or its database is away: no new records, but signs of life to the group.
    fn poll_paused(&mut self) {
        let client = self.client;
        while !self.inbox.is_stopped() && !self.inbox.wait_for_room(POLL) {
            // each time, for what was assigned meanwhile
            if let Err(error) = client.assignment().and_then(|all| client.pause(&all)) {
                tracing::warn!(%error, "partitions cannot be paused");
            }
            self.take(Duration::ZERO);
        }
        if let Err(error) = client.assignment().and_then(|all| client.resume(&all)) {
            tracing::warn!(%error, "partitions cannot be resumed");
        }
    }

    /// Waits for a record, and takes all that are there by then.
    fn take(&mut self, wait: Duration) {
        if !self.poll(wait) {
            return;
        }
        let mut count = 1;
        while count < INTAKE_MAX && self.poll(Duration::ZERO) {
            count += 1;
        }
        self.inbox.announce();
    }

    fn poll(&mut self, wait: Duration) -> bool {
        match self.client.poll(wait) {
            Some(Ok(message)) => self.inbox.push(received(&message, &mut self.topics)),
            Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => self.inbox.fail(error),
            Some(Err(error)) => tracing::debug!(%error, "the consumer goes on"),
            None => return false,
        }
        true
    }
}

/// Leaves the group. The last offsets are committed first, and again for each revoked partition.
fn close(mut client: Arc<BaseConsumer<Context>>) {
    commit(&client);
    // whoever stores an offset holds the client for that moment only; the last one closes it, and
    // that takes time, so it has to be us
    loop {
        match Arc::try_unwrap(client) {
            Ok(last) => return drop(last),
            Err(shared) => client = shared,
        }
        thread::yield_now();
    }
}

fn commit(client: &BaseConsumer<Context>) {
    match client.commit_consumer_state(CommitMode::Sync) {
        Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => {}
        // what is not committed is repeated
        Err(error) => tracing::debug!(%error, "offsets were not committed"),
    }
}

struct Context {
    inbox: Arc<Inbox>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }
}

impl ConsumerContext for Context {
    /// Runs inside of poll, on the consumer's thread.
    fn pre_rebalance(&self, client: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Revoke(gone) = rebalance else {
            return;
        };
        let gone: Vec<_> = gone
            .elements()
            .iter()
            .map(|element| (Arc::from(element.topic()), element.partition()))
            .collect();
        if client.assignment_lost() {
            // somebody else may have them already: give up what is in hand, commit nothing
            self.inbox.revoke(&gone, Duration::ZERO);
        } else {
            self.inbox.revoke(&gone, REVOKE_WAIT);
            commit(client);
        }
    }

    fn post_rebalance(&self, client: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let count = match client.assignment() {
            Ok(all) => all.count(),
            Err(error) => {
                tracing::warn!(%error, "the assignment cannot be read");
                return;
            }
        };
        let joined = matches!(rebalance, Rebalance::Assign(_));
        self.inbox.assigned(joined, count);
    }
}
