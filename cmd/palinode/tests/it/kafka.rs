use std::env;

use palinode_messaging::{BrokerKind, InProcessBroker, Kafka, delete_topics};

/// The real Kafka that tests may use; otherwise `test` says that it was skipped.
pub(crate) fn given(test: &str) -> Option<String> {
    let address = env::var_os("PALINODE_TEST_KAFKA").filter(|value| !value.is_empty());
    if address.is_none() {
        palinode_testkit::skipped(test, "PALINODE_TEST_KAFKA is not set");
    }
    address.map(|address| address.into_string().unwrap())
}

/// A broker that other processes reach, with a prefix of the test's own.
pub(crate) struct Broker {
    pub(crate) kafka: Kafka,
    in_process: Option<InProcessBroker>,
}

impl Broker {
    /// The real one where it is given, else one in this process.
    pub(crate) fn start(test: &str) -> Self {
        let prefix = format!("test-{:08x}", rand::random::<u32>());
        if let Some(bootstrap) = given(&format!("{test} on real Kafka")) {
            let kafka = Kafka {
                bootstrap,
                prefix,
                broker: BrokerKind::Real,
            };
            return Self {
                kafka,
                in_process: None,
            };
        }
        let (broker, kafka) = InProcessBroker::start(&prefix, 1).unwrap();
        Self {
            kafka,
            in_process: Some(broker),
        }
    }

    pub(crate) async fn end(self) {
        if self.in_process.is_none() {
            delete_topics(&self.kafka).await.unwrap();
        }
    }
}
