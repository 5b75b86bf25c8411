use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication, TopicResult};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::util::Timeout;

use crate::kafka::{ASK_LIMIT, BrokerKind, Error, Kafka, LogContext};
use crate::topics::{LANES, TOPICS, Topic};

/// Creates the topics that are missing; those that exist are left as they are.
///
/// Shape: `partitions` divides 64 (8 is usual); `replication` is 3 on a cluster, 1 on one host.
///
/// # Errors
/// `Unreachable`. `Topic`: the broker refused. `InProcess`: a topic is missing on a broker that
/// cannot create it.
pub async fn create_topics(kafka: &Kafka, partitions: i32, replication: i32) -> Result<(), Error> {
    assert!(
        partitions > 0 && i32::from(LANES) % partitions == 0,
        "{partitions} partitions do not divide {LANES} lanes"
    );
    let present = present_topics(kafka, ASK_LIMIT).await?;
    let missing: Vec<_> = TOPICS
        .iter()
        .filter(|spec| !present.iter().any(|(topic, _)| *topic == spec.topic))
        .map(|spec| (kafka.topic_name(spec.topic), spec.retention_ms.to_string()))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if kafka.broker == BrokerKind::InProcess {
        return Err(Error::InProcess);
    }
    // with three replicas one may be away: writes still go to two
    let in_sync = if replication >= 3 { "2" } else { "1" };
    let topics: Vec<_> = missing
        .iter()
        .map(|(name, retention)| {
            NewTopic::new(name, partitions, TopicReplication::Fixed(replication))
                .set("retention.ms", retention)
                .set("min.insync.replicas", in_sync)
        })
        .collect();
    let results = admin(kafka)?
        .create_topics(&topics, &admin_options())
        .await
        .map_err(|source| kafka.unreachable(source))?;
    // another process may have been faster
    judge(results, "created", RDKafkaErrorCode::TopicAlreadyExists)?;
    // the answer comes before every broker knows the topics
    let mut left = 100;
    while let Err(error) = partitions_within(kafka, ASK_LIMIT).await {
        left -= 1;
        if left == 0 {
            return Err(error);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Deletes every topic of the prefix that exists: the end of a throw-away stack.
///
/// # Errors
/// `Unreachable`. `Topic`: the broker refused. `InProcess`: it forgets them by itself.
pub async fn delete_topics(kafka: &Kafka) -> Result<(), Error> {
    if kafka.broker == BrokerKind::InProcess {
        return Err(Error::InProcess);
    }
    let present = present_topics(kafka, ASK_LIMIT).await?;
    let names: Vec<_> = present.iter().map(|(t, _)| kafka.topic_name(*t)).collect();
    if names.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let results = admin(kafka)?
        .delete_topics(&names, &admin_options())
        .await
        .map_err(|source| kafka.unreachable(source))?;
    judge(
        results,
        "deleted",
        RDKafkaErrorCode::UnknownTopicOrPartition,
    )
}

/// The number of partitions of every topic of the table.
///
/// # Errors
/// `Unreachable`. `Missing`: names the topics that do not exist.
pub async fn partitions(kafka: &Kafka) -> Result<Vec<(Topic, i32)>, Error> {
    partitions_within(kafka, ASK_LIMIT).await
}

/// Whether a broker answers within `limit`.
///
/// # Errors
/// `Unreachable`: says where it was looked for.
pub async fn reachable(kafka: &Kafka, limit: Duration) -> Result<(), Error> {
    present_topics(kafka, limit).await.map(drop)
}

async fn partitions_within(kafka: &Kafka, limit: Duration) -> Result<Vec<(Topic, i32)>, Error> {
    let present = present_topics(kafka, limit).await?;
    let missing: Vec<_> = TOPICS
        .iter()
        .filter(|spec| !present.iter().any(|(topic, _)| *topic == spec.topic))
        .map(|spec| kafka.topic_name(spec.topic))
        .collect();
    if missing.is_empty() {
        Ok(present)
    } else {
        Err(Error::Missing(missing))
    }
}

async fn present_topics(kafka: &Kafka, limit: Duration) -> Result<Vec<(Topic, i32)>, Error> {
    let kafka = kafka.clone();
    tokio::task::spawn_blocking(move || {
        let client: BaseConsumer<LogContext> =
            BaseConsumer::from_config_and_context(&kafka.client_config(), LogContext)?;
        // asking for one topic by its name might create it
        let metadata = client
            .fetch_metadata(None, limit)
            .map_err(|source| kafka.unreachable(source))?;
        let found = TOPICS.iter().filter_map(|spec| {
            let name = kafka.topic_name(spec.topic);
            let topic = metadata.topics().iter().find(|t| t.name() == name)?;
            let count = i32::try_from(topic.partitions().len()).ok()?;
            (topic.error().is_none() && count > 0).then_some((spec.topic, count))
        });
        Ok(found.collect())
    })
    .await
    .expect("asking for metadata does not panic")
}

fn admin(kafka: &Kafka) -> Result<AdminClient<LogContext>, Error> {
    let config = kafka.client_config();
    Ok(AdminClient::from_config_and_context(&config, LogContext)?)
}

fn admin_options() -> AdminOptions {
    let limit = Some(Timeout::After(ASK_LIMIT));
    AdminOptions::new()
        .request_timeout(limit)
        .operation_timeout(limit)
}

fn judge(
    results: Vec<TopicResult>,
    verb: &'static str,
    harmless: RDKafkaErrorCode,
) -> Result<(), Error> {
    for result in results {
        match result {
            Err((topic, code)) if code != harmless => {
                return Err(Error::Topic {
                    topic,
                    verb,
                    why: KafkaError::AdminOp(code).to_string(),
                });
            }
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}
