//! The records of sagas on Kafka alone: produced in batches, durable and in order, and consumed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use palinode_messaging::{BrokerKind, Kafka, Received};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// Sagas whose records are handed over at once.
const BATCH: u64 = 50;
/// Records that are sent and not yet read, at the most: the in-process broker forgets what is far
/// behind, and a real one need not read from its disk.
const AHEAD_REAL: u64 = 50_000;
const AHEAD_IN_PROCESS: u64 = 2_000;
const POLL: Duration = Duration::from_millis(1);
const STALL_LIMIT: Duration = Duration::from_secs(30);

/// What Kafka alone did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wire {
    pub(super) sagas: u64,
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) took: Duration,
}

/// Sends copies of `sample`, the records of one saga, and reads them back, for so long.
///
/// # Errors
/// Kafka does not answer, or a record does not arrive.
pub(super) async fn measure(
    kafka: &Kafka,
    partitions: i32,
    sample: Vec<Received>,
    length: Duration,
) -> anyhow::Result<Wire> {
    let read = Arc::new(Read::default());
    let consumer = consumer(kafka, partitions, &sample).context("the floor's consumer")?;
    let ahead = match kafka.broker {
        BrokerKind::Real => AHEAD_REAL,
        BrokerKind::InProcess => AHEAD_IN_PROCESS,
    };
    let producer = producer(kafka).context("the floor's producer")?;
    let reading = tokio::task::spawn_blocking({
        let read = Arc::clone(&read);
        move || consume(&consumer, &read)
    });
    let seen = Arc::clone(&read);
    let sent = tokio::task::spawn_blocking(move || {
        produce(&producer, partitions, &sample, ahead, length, &seen)
    });
    let sent = sent.await?;
    read.stop.store(true, Ordering::Release);
    reading.await??;
    sent
}

#[derive(Debug, Default)]
struct Read {
    records: AtomicU64,
    bytes: AtomicU64,
    stop: AtomicBool,
}

fn client(kafka: &Kafka) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &kafka.bootstrap)
        .set("client.id", format!("{}.floor", kafka.prefix))
        .set("allow.auto.create.topics", "false");
    config
}

/// As durable and as ordered as the relay's.
fn producer(kafka: &Kafka) -> Result<BaseProducer, KafkaError> {
    client(kafka)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("max.in.flight.requests.per.connection", "5")
        .set("message.timeout.ms", "0")
        .set("linger.ms", "0")
        .set("batch.size", "1000000")
        .set("batch.num.messages", "10000")
        .set("queue.buffering.max.messages", "200000")
        .create()
}

fn consumer(
    kafka: &Kafka,
    partitions: i32,
    sample: &[Received],
) -> Result<BaseConsumer, KafkaError> {
    let wait_ms = match kafka.broker {
        BrokerKind::InProcess => "5",
        BrokerKind::Real => "500",
    };
    let consumer: BaseConsumer = client(kafka)
        .set("group.id", kafka.group_name("floor"))
        .set("enable.auto.commit", "false")
        .set("fetch.min.bytes", "1")
        .set("fetch.wait.max.ms", wait_ms)
        .set("queued.min.messages", "20000")
        .set("fetch.queue.backoff.ms", "10")
        .create()?;
    let mut assignment = TopicPartitionList::new();
    for record in sample {
        for partition in 0..partitions {
            if assignment
                .find_partition(&record.topic, partition)
                .is_none()
            {
                let (_, end) = consumer.fetch_watermarks(&record.topic, partition, STALL_LIMIT)?;
                assignment.add_partition_offset(&record.topic, partition, Offset::Offset(end))?;
            }
        }
    }
    consumer.assign(&assignment)?;
    Ok(consumer)
}

fn consume(consumer: &BaseConsumer, read: &Read) -> anyhow::Result<()> {
    while !read.stop.load(Ordering::Acquire) {
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                let bytes = message.payload_len() + message.key_len();
                read.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
                read.records.fetch_add(1, Ordering::Release);
            }
            Some(Err(error)) => return Err(error).context("reading from Kafka"),
            None => {}
        }
    }
    Ok(())
}

fn produce(
    producer: &BaseProducer,
    partitions: i32,
    sample: &[Received],
    ahead: u64,
    length: Duration,
    read: &Read,
) -> anyhow::Result<Wire> {
    let headers: Vec<OwnedHeaders> = sample.iter().map(headers_of).collect();
    let a_saga = sample.len() as u64;
    let (mut began, mut sagas) = (Instant::now(), 0);
    let mut skipped = 0; // the first acknowledgement of an idempotent producer takes long
    let mut until = began + length;
    while skipped == 0 || Instant::now() < until {
        for saga in sagas..sagas + BATCH {
            let partition = i32::try_from(saga % u64::try_from(partitions)?)?;
            for (record, headers) in sample.iter().zip(&headers) {
                send(producer, partition, record, headers.clone())?;
            }
        }
        sagas += BATCH;
        producer.poll(Duration::ZERO);
        wait(producer, read, sagas * a_saga, ahead)?;
        if skipped == 0 {
            wait(producer, read, sagas * a_saga, 0)?;
            (began, skipped) = (Instant::now(), sagas);
            until = began + length;
            read.bytes.store(0, Ordering::Relaxed);
        }
    }
    wait(producer, read, sagas * a_saga, 0)?;
    let took = began.elapsed();
    producer.flush(STALL_LIMIT).context("not acknowledged")?;
    let sagas = sagas - skipped;
    Ok(Wire {
        sagas,
        records: sagas * a_saga,
        bytes: read.bytes.load(Ordering::Relaxed),
        took,
    })
}

fn headers_of(record: &Received) -> OwnedHeaders {
    let count = record.headers.count();
    record.headers.iter().fold(
        OwnedHeaders::new_with_capacity(count),
        |headers, (name, value)| {
            headers.insert(Header {
                key: name,
                value: Some(value),
            })
        },
    )
}

fn send(
    producer: &BaseProducer,
    partition: i32,
    record: &Received,
    headers: OwnedHeaders,
) -> anyhow::Result<()> {
    let mut outgoing = BaseRecord::to(&record.topic)
        .partition(partition)
        .key(record.key.as_ref())
        .payload(record.body.as_ref())
        .headers(headers);
    loop {
        match producer.send(outgoing) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                producer.poll(POLL);
                outgoing = back;
            }
            Err((error, _)) => return Err(error).context("sending to Kafka"),
        }
    }
}

/// Waits until not more than `ahead` of the records are unread.
fn wait(producer: &BaseProducer, read: &Read, sent: u64, ahead: u64) -> anyhow::Result<()> {
    let (mut before, mut moved) = (0, Instant::now());
    loop {
        let records = read.records.load(Ordering::Acquire);
        if sent.saturating_sub(records) <= ahead {
            return Ok(());
        }
        if records != before {
            (before, moved) = (records, Instant::now());
        }
        let (missing, limit) = (sent - records, STALL_LIMIT.as_secs());
        ensure!(
            moved.elapsed() < STALL_LIMIT,
            "{missing} records were sent and not read within {limit} s"
        );
        producer.poll(POLL);
    }
}
