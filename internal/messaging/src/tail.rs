use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::mpsc;

use crate::admin;
use crate::consumer::{consumer_config, received};
use crate::envelope::Received;
use crate::kafka::{ASK_LIMIT, Error, Kafka, LogContext};
use crate::topics::Topic;

const QUEUED_MAX: usize = 10_000;
const POLL: Duration = Duration::from_millis(100);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// Where a tail begins in each partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// At the oldest record that is kept.
    Beginning,
    /// After the newest record at the time of the start.
    End,
}

/// Reads every partition of some topics without a group: for tools that look on.
#[derive(Debug)]
pub struct TopicTail {
    records: mpsc::Receiver<Received>,
    stopped: Arc<AtomicBool>,
}

impl TopicTail {
    /// Begins to read. When this returns, the place to begin at is fixed: whatever is published
    /// afterwards will be seen.
    ///
    /// # Errors
    /// `Unreachable`. `Missing`: topics of the table do not exist. `Thread`.
    pub async fn start(kafka: &Kafka, topics: &[Topic], from: StartAt) -> Result<Self, Error> {
        let partitions = admin::partitions(kafka).await?;
        let partitions = partitions
            .into_iter()
            .filter(|(topic, _)| topics.contains(topic))
            .map(|(topic, count)| (kafka.topic_name(topic), count))
            .collect();
        let (sender, records) = mpsc::channel(QUEUED_MAX);
        let stopped = Arc::new(AtomicBool::new(false));
        let kafka = kafka.clone();
        let consumer = tokio::task::spawn_blocking(move || assigned(&kafka, partitions, from))
            .await
            .expect("making a consumer does not panic")?;
        let stop = Arc::clone(&stopped);
        thread::Builder::new()
            .name("topic-tail".to_owned())
            .spawn(move || {
                let mut names = Vec::new();
                while !stop.load(Ordering::Acquire) {
                    let read_on = match consumer.poll(POLL) {
                        Some(Ok(message)) => {
                            sender.blocking_send(received(&message, &mut names)).is_ok()
                        }
                        Some(Err(error)) => {
                            tracing::debug!(%error, "a tail goes on");
                            true
                        }
                        None => true,
                    };
                    if !read_on {
                        return;
                    }
                }
            })
            .map_err(Error::Thread)?;
        Ok(Self { records, stopped })
    }

    /// The next record, however long it takes; in order within each partition.
    pub async fn recv(&mut self) -> Option<Received> {
        self.records.recv().await
    }
}

impl Drop for TopicTail {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
    }
}

fn assigned(
    kafka: &Kafka,
    topics: Vec<(String, i32)>,
    from: StartAt,
) -> Result<BaseConsumer<LogContext>, Error> {
    let mut config = consumer_config(kafka);
    // partitions are assigned by hand, but librdkafka wants a name for the group
    config
        .set("group.id", kafka.group_name("tail"))
        .set("group.protocol", "classic")
        .set("enable.auto.commit", "false");
    let consumer: BaseConsumer<LogContext> =
        BaseConsumer::from_config_and_context(&config, LogContext)?;
    let mut assignment = TopicPartitionList::new();
    for (name, count) in topics {
        for partition in 0..count {
            let (low, high) = watermarks(&consumer, &name, partition)
                .map_err(|source: KafkaError| kafka.unreachable(source))?;
            let offset = match from {
                StartAt::Beginning => low,
                StartAt::End => high,
            };
            assignment.add_partition_offset(&name, partition, Offset::Offset(offset))?;
        }
    }
    consumer.assign(&assignment)?;
    Ok(consumer)
}

/// The leader of a partition that was just made may not know yet that it is: it is asked again.
fn watermarks(
    consumer: &BaseConsumer<LogContext>,
    topic: &str,
    partition: i32,
) -> Result<(i64, i64), KafkaError> {
    let until = Instant::now() + ASK_LIMIT;
    loop {
        let answer = consumer.fetch_watermarks(topic, partition, ASK_LIMIT);
        let code = answer
            .as_ref()
            .err()
            .and_then(KafkaError::rdkafka_error_code);
        let too_early = matches!(
            code,
            Some(
                RDKafkaErrorCode::LeaderNotAvailable
                    | RDKafkaErrorCode::NotLeaderForPartition
                    | RDKafkaErrorCode::UnknownTopicOrPartition
            )
        );
        if !too_early || Instant::now() > until {
            return answer;
        }
        thread::sleep(ASK_AGAIN_AFTER);
    }
}
