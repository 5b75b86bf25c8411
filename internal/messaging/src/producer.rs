use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, ProducerContext};
use rdkafka::producer::{Producer as _, PurgeConfig};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::headers::Headers;
use crate::kafka::{Error, Kafka, log_error, log_line};
use crate::slab::{ROW_BITS, Slab};

/// Records in flight at the most, over all pages.
const RECORDS_MAX: u32 = 50_000;
/// Kibibytes in flight at the most, over all pages.
const KIB_MAX: u32 = 64 * 1024;
/// Records of one page at the most.
pub const PAGE_RECORDS_MAX: usize = 1 << ROW_BITS;

/// Records of a page that is handed over at once, without the thread: that takes microseconds.
const AT_ONCE_MAX: usize = 32;

const POLL: Duration = Duration::from_millis(100);
/// How long a retired producer may take to report what was purged.
const RETIRE_LIMIT: Duration = Duration::from_secs(10);

/// A record on its way to Kafka.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Name of the topic, with its prefix.
    pub topic: Arc<str>,
    /// Partition; never chosen by the client library.
    pub partition: i32,
    /// Key.
    pub key: Bytes,
    /// Body.
    pub body: Bytes,
    /// Every header.
    pub headers: Headers,
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// It is in the log, on every replica that is in sync.
    Acked,
    /// It can never be sent as it is, and was not: too large, or its topic does not exist.
    Refused(String),
    /// The broker refused the request that it was in, for the fault of a record or its topic;
    /// others of the same request share the answer.
    Rejected(String),
    /// No fault of the record: not sent, or sent with unknown outcome. Send it again, with
    /// everything after it.
    Unsent,
}

/// Room for a page in the budget of records and bytes in flight. Given back when the whole page is
/// reported.
#[derive(Debug)]
pub struct Permit {
    _records: OwnedSemaphorePermit,
    _kib: OwnedSemaphorePermit,
}

/// The idempotent producer of a process. Cheap to clone; the last clone stops its two threads: one
/// hands pages to the client, one takes its reports.
///
/// Create it at start: the first acknowledgement takes up to 0.6 s. A fatal error, a gap and
/// [`Producer::purge`] replace the client beneath; the pages in flight are reported `Unsent`.
#[derive(Debug, Clone)]
pub struct Producer {
    shared: Arc<Shared>,
}

struct Shared {
    kafka: Kafka,
    current: Current,
    pages: mpsc::Sender<Handover>,
    /// Pages that the thread has still to hand over.
    queued: Arc<AtomicUsize>,
    records: Arc<Semaphore>,
    kib: Arc<Semaphore>,
}

/// Held for reading while a page is handed over, so that nothing is handed to a client after it
/// was purged.
type Current = Arc<RwLock<Arc<Generation>>>;

/// A page on its way to the client that was the current one when it was sent.
struct Handover {
    to: Arc<Generation>,
    permit: Permit,
    page: Arc<Vec<Outgoing>>,
    done: oneshot::Sender<Vec<Delivery>>,
}

/// One client of librdkafka with the pages that it has in flight.
struct Generation {
    client: BaseProducer<Context>,
    slab: Arc<Mutex<Slab>>,
    stopped: AtomicBool,
    broken: Arc<AtomicBool>,
}

impl Producer {
    /// Makes the client and its poll thread. Connects in the background: a broker that is away is
    /// no error here.
    ///
    /// # Errors
    /// `Client`: the settings are refused. `Thread`.
    pub fn start(kafka: &Kafka) -> Result<Self, Error> {
        let generation = Generation::new(kafka)?;
        let current = Arc::new(RwLock::new(Arc::clone(&generation)));
        let (pages, handed) = mpsc::channel();
        let queued = Arc::default();
        hand_over_on_a_thread(Arc::clone(&current), handed, Arc::clone(&queued))?;
        let shared = Arc::new(Shared {
            kafka: kafka.clone(),
            current,
            pages,
            queued,
            records: Arc::new(Semaphore::new(RECORDS_MAX as usize)),
            kib: Arc::new(Semaphore::new(KIB_MAX as usize)),
        });
        generation.poll_on_a_thread(Arc::downgrade(&shared))?;
        Ok(Self { shared })
    }

    /// Waits for room in the budget for these records.
    pub async fn reserve(&self, page: &[Outgoing]) -> Permit {
        let bytes: usize = page.iter().map(Outgoing::size).sum();
        let records = u32::try_from(page.len()).unwrap_or(u32::MAX);
        let kib = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX);
        let acquire = |semaphore: &Arc<Semaphore>, count: u32| {
            let semaphore = Arc::clone(semaphore);
            async move {
                let permit = semaphore.acquire_many_owned(count).await;
                permit.expect("the budget is never closed")
            }
        };
        // in one order, or two pages would wait for each other; one page may use it all
        Permit {
            _records: acquire(&self.shared.records, records.min(RECORDS_MAX)).await,
            _kib: acquire(&self.shared.kib, kib.min(KIB_MAX)).await,
        }
    }

    /// Hands a page over, in its order and after those before it; the future ends when every
    /// record of it is reported, however long the broker is away.
    ///
    /// Shape: 0 to [`PAGE_RECORDS_MAX`] records; as many deliveries, in the same order. After a
    /// record that is refused, the later ones of its topic and key are held back as `Unsent`.
    pub fn send(
        &self,
        permit: Permit,
        page: impl Into<Arc<Vec<Outgoing>>>,
    ) -> impl Future<Output = Vec<Delivery>> + Send + 'static {
        let page = page.into();
        assert!(page.len() <= PAGE_RECORDS_MAX, "a page is too long");
        let count = page.len();
        let (done, reported) = oneshot::channel();
        let handover = Handover {
            to: self.shared.current(),
            permit,
            page,
            done,
        };
        let shared = &self.shared;
        if count <= AT_ONCE_MAX && shared.queued.load(Ordering::Acquire) == 0 {
            handover.go(&shared.current);
        } else {
            shared.queued.fetch_add(1, Ordering::AcqRel);
            let taken = shared.pages.send(handover);
            taken.expect("the thread that takes pages lives as long as its senders");
        }
        async move {
            // a client that is dropped before it reported tells nothing about its records
            let unsent = |_dropped| vec![Delivery::Unsent; count];
            reported.await.unwrap_or_else(unsent)
        }
    }

    /// Forgets everything that is queued or in flight; the pages are reported at once, what was
    /// not acknowledged as `Unsent`. A new client takes over.
    ///
    /// # Errors
    /// `Client`, `Thread`: there is no new client, the old one goes on without what was purged.
    pub fn purge(&self) -> Result<(), Error> {
        self.shared.replace(&self.shared.current())
    }
}

impl Shared {
    fn current(&self) -> Arc<Generation> {
        let current = self.current.read();
        Arc::clone(&current.unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a new client in the place of `old`, unless somebody was faster.
    fn replace(self: &Arc<Self>, old: &Arc<Generation>) -> Result<(), Error> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&current, old) {
            return Ok(());
        }
        old.purge();
        let fresh = Generation::new(&self.kafka)?;
        fresh.poll_on_a_thread(Arc::downgrade(self))?;
        old.stopped.store(true, Ordering::Release);
        *current = fresh;
        Ok(())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.current().stopped.store(true, Ordering::Release);
    }
}

/// Encoding the records of a page takes milliseconds, which no task should wait for. Ends with
/// the last sender.
fn hand_over_on_a_thread(
    current: Current,
    pages: mpsc::Receiver<Handover>,
    queued: Arc<AtomicUsize>,
) -> Result<(), Error> {
    thread::Builder::new()
        .name("producer-send".to_owned())
        .spawn(move || {
            for handover in pages {
                handover.go(&current);
                queued.fetch_sub(1, Ordering::AcqRel);
            }
        })
        .map(drop)
        .map_err(Error::Thread)
}

impl Handover {
    fn go(self, current: &Current) {
        let current = current.read().unwrap_or_else(PoisonError::into_inner);
        // else it was purged meanwhile: the sender learns it from `done`, which is dropped
        if Arc::ptr_eq(&current, &self.to) {
            self.to.send(self.permit, &self.page, self.done);
        }
    }
}

impl Generation {
    fn new(kafka: &Kafka) -> Result<Arc<Self>, Error> {
        let slab = Arc::new(Mutex::new(Slab::default()));
        let broken = Arc::new(AtomicBool::new(false));
        let context = Context {
            slab: Arc::clone(&slab),
            broken: Arc::clone(&broken),
        };
        let client = BaseProducer::from_config_and_context(&config(kafka), context)?;
        Ok(Arc::new(Self {
            client,
            slab,
            stopped: AtomicBool::new(false),
            broken,
        }))
    }

    /// `poll(t)` returns only when `t` is over, so it gets a thread of its own. It ends once the
    /// client is stopped and has reported everything.
    fn poll_on_a_thread(self: &Arc<Self>, shared: Weak<Shared>) -> Result<(), Error> {
        let generation = Arc::clone(self);
        thread::Builder::new()
            .name("producer-poll".to_owned())
            .spawn(move || {
                while !generation.stopped.load(Ordering::Acquire) {
                    generation.client.poll(POLL);
                    if generation.broken.swap(false, Ordering::AcqRel)
                        && let Some(shared) = shared.upgrade()
                        && let Err(error) = shared.replace(&generation)
                    {
                        tracing::warn!(%error, "no new producer yet");
                        generation.broken.store(true, Ordering::Release);
                    }
                }
                generation.purge();
                let mut left = RETIRE_LIMIT.as_millis() / POLL.as_millis();
                while generation.client.in_flight_count() > 0 && left > 0 {
                    generation.client.poll(POLL);
                    left -= 1;
                }
            })
            .map(drop)
            .map_err(Error::Thread)
    }

    fn send(&self, permit: Permit, page: &[Outgoing], done: oneshot::Sender<Vec<Delivery>>) {
        let number = lock(&self.slab).open(page.len(), permit, done);
        let mut refused: Vec<(&str, &[u8])> = Vec::new();
        let mut full = false;
        for (row, record) in page.iter().enumerate() {
            let held_back = full
                || refused
                    .iter()
                    .any(|(topic, key)| *topic == &*record.topic && *key == &*record.key);
            if held_back {
                lock(&self.slab).report(number, row, Delivery::Unsent);
                continue;
            }
            let outgoing = BaseRecord::with_opaque_to(&record.topic, number << ROW_BITS | row)
                .partition(record.partition)
                .key(record.key.as_ref())
                .payload(record.body.as_ref())
                .headers(native_headers(&record.headers));
            if let Err((error, _record)) = self.client.send(outgoing) {
                let delivery = match fault(&error) {
                    Fault::Record => {
                        refused.push((&record.topic, &record.key));
                        Delivery::Refused(error.to_string())
                    }
                    Fault::Purged | Fault::Client => {
                        // nothing may overtake what was not taken
                        tracing::error!(%error, "the producer takes no records");
                        full = true;
                        Delivery::Unsent
                    }
                };
                lock(&self.slab).report(number, row, delivery);
            }
        }
        lock(&self.slab).close(number);
    }

    fn purge(&self) {
        self.client.purge(PurgeConfig::default().queue().inflight());
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Outgoing {
    fn size(&self) -> usize {
        self.key.len() + self.body.len() + self.headers.size()
    }
}

fn lock(slab: &Mutex<Slab>) -> MutexGuard<'_, Slab> {
    slab.lock().unwrap_or_else(PoisonError::into_inner)
}

fn native_headers(headers: &Headers) -> OwnedHeaders {
    let native = OwnedHeaders::new_with_capacity(headers.count());
    headers.iter().fold(native, |native, (key, value)| {
        native.insert(Header {
            key,
            value: Some(value),
        })
    })
}

struct Context {
    slab: Arc<Mutex<Slab>>,
    broken: Arc<AtomicBool>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if let KafkaError::Global(RDKafkaErrorCode::Fatal) = error {
            self.broken.store(true, Ordering::Release);
        }
        log_error(&error, reason);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        let text = || String::from_utf8_lossy(statistics);
        tracing::trace!(target: "librdkafka", statistics = %text());
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        let delivery = match result {
            Ok(_) => Delivery::Acked,
            Err((error, _)) => match fault(error) {
                Fault::Record => Delivery::Rejected(error.to_string()),
                Fault::Purged => Delivery::Unsent,
                Fault::Client => {
                    // later records may be acknowledged already: begin anew from the outbox
                    tracing::warn!(%error, "a record was not delivered");
                    self.broken.store(true, Ordering::Release);
                    Delivery::Unsent
                }
            },
        };
        let row = opaque & (PAGE_RECORDS_MAX - 1);
        lock(&self.slab).report(opaque >> ROW_BITS, row, delivery);
    }
}

/// Whose fault it is that a record was not delivered.
enum Fault {
    Record,
    Purged,
    Client,
}

fn fault(error: &KafkaError) -> Fault {
    match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::InvalidMessageSize
            | RDKafkaErrorCode::MessageBatchTooLarge
            | RDKafkaErrorCode::InvalidRecord
            | RDKafkaErrorCode::InvalidTopic
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::TopicAuthorizationFailed,
        ) => Fault::Record,
        Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) => Fault::Purged,
        _ => Fault::Client,
    }
}

/// Every setting that matters, whatever the library's defaults become.
fn config(kafka: &Kafka) -> ClientConfig {
    let compression = if kafka.is_loopback() { "none" } else { "lz4" };
    let mut config = kafka.client_config();
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("max.in.flight.requests.per.connection", "5")
        // a timeout skips a record and sends the later ones; the relay watches for stalls itself
        .set("message.timeout.ms", "0")
        // the page is the batch: waiting for more would add its length to each hop
        .set("linger.ms", "0")
        .set("batch.size", "1000000")
        .set("batch.num.messages", "10000")
        .set("compression.type", compression)
        // above our own budget, so that a full queue is a bug
        .set("queue.buffering.max.messages", "200000")
        .set("queue.buffering.max.kbytes", "131072")
        .set("partitioner", "murmur2_random")
        .set("statistics.interval.ms", "5000");
    config
}
