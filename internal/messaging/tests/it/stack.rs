use std::sync::{Arc, Once};
use std::time::Duration;

use bytes::Bytes;
use palinode_messaging::{
    BrokerKind, Delivery, Headers, InProcessBroker, Kafka, Outgoing, Producer, Topic,
    create_topics, delete_topics, partition_of,
};

/// Everything here ends within this, or has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) const TOPIC: Topic = Topic::ORCHESTRATOR_COMMANDS;

/// A broker with topics of the test's own.
pub(crate) struct Stack {
    pub(crate) kafka: Kafka,
    pub(crate) partitions: i32,
    pub(crate) broker: Option<InProcessBroker>,
}

impl Stack {
    pub(crate) async fn start(partitions: i32) -> Self {
        let prefix = format!("test-{:08x}", rand::random::<u32>());
        let address = std::env::var_os("PALINODE_TEST_KAFKA").filter(|value| !value.is_empty());
        if let Some(address) = address {
            let kafka = Kafka {
                bootstrap: address.into_string().unwrap(),
                prefix,
                broker: BrokerKind::Real,
            };
            create_topics(&kafka, partitions, 1).await.unwrap();
            return Self {
                kafka,
                partitions,
                broker: None,
            };
        }
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            palinode_testkit::skipped("messaging on real Kafka", "PALINODE_TEST_KAFKA is not set");
        });
        Self::in_process(partitions)
    }

    /// For faults that only the in-process broker can be told to have.
    pub(crate) fn in_process(partitions: i32) -> Self {
        let (broker, kafka) = InProcessBroker::start("test", partitions).unwrap();
        Self {
            kafka,
            partitions,
            broker: Some(broker),
        }
    }

    pub(crate) async fn end(self) {
        if self.broker.is_none() {
            delete_topics(&self.kafka).await.unwrap();
        }
    }

    pub(crate) fn record(&self, key: &str, body: impl Into<Bytes>) -> Outgoing {
        Outgoing {
            topic: Arc::from(self.kafka.topic_name(TOPIC)),
            partition: partition_of(key.as_bytes(), self.partitions),
            key: Bytes::copy_from_slice(key.as_bytes()),
            body: body.into(),
            headers: {
                let mut headers = Headers::default();
                headers.push("ce_type", "test");
                headers
            },
        }
    }

    /// Publishes a record for each body, all of one key, and waits for the acknowledgements.
    pub(crate) async fn publish(&self, producer: &Producer, key: &str, bodies: &[String]) {
        let page: Vec<_> = bodies
            .iter()
            .map(|body| self.record(key, body.clone()))
            .collect();
        let permit = producer.reserve(&page).await;
        let deliveries = producer.send(permit, page).await;
        assert_eq!(deliveries, vec![Delivery::Acked; bodies.len()]);
    }
}

pub(crate) fn numbered(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| format!("{number:05}")).collect()
}
