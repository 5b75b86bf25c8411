/// Lanes of an outbox. The number of partitions of a topic divides it.
pub const LANES: u16 = 64;

/// A topic of the platform; its name on Kafka is `<prefix>.<suffix>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(i16);

/// A line of the table of topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicSpec {
    /// The topic; its number stands in outbox rows and never changes.
    pub topic: Topic,
    /// `<service>.commands`, `orchestrator.replies` or `<service>.events`.
    pub suffix: &'static str,
    /// How long Kafka keeps records, in milliseconds. Less than the guard's horizon of 30 days.
    pub retention_ms: i64,
}

const WEEK_MS: i64 = 7 * 24 * 60 * 60 * 1000;

const fn spec(number: i16, suffix: &'static str) -> TopicSpec {
    TopicSpec {
        topic: Topic(number),
        suffix,
        retention_ms: WEEK_MS,
    }
}

/// Every topic of the platform, once.
pub const TOPICS: &[TopicSpec] = &[
    spec(1, "orchestrator.commands"),
    spec(2, "orchestrator.replies"),
    spec(3, "orchestrator.events"),
    spec(4, "order.commands"),
    spec(5, "order.events"),
    spec(6, "inventory.commands"),
    spec(7, "inventory.events"),
    spec(8, "payment.commands"),
    spec(9, "payment.events"),
    spec(10, "shipping.commands"),
    spec(11, "shipping.events"),
    spec(12, "identity.events"),
    spec(13, "catalog.events"),
];

impl Topic {
    /// Where sagas are started.
    pub const ORCHESTRATOR_COMMANDS: Self = Self(1);
    /// Where participants answer.
    pub const ORCHESTRATOR_REPLIES: Self = Self(2);
    /// What happened to sagas.
    pub const ORCHESTRATOR_EVENTS: Self = Self(3);

    /// The number that stands in outbox rows.
    #[must_use]
    pub fn number(self) -> i16 {
        self.0
    }

    /// The topic of a number.
    #[must_use]
    pub fn from_number(number: i16) -> Option<Self> {
        TOPICS
            .iter()
            .find(|spec| spec.topic.0 == number)
            .map(|spec| spec.topic)
    }

    /// The topic of a suffix such as `order.events`.
    #[must_use]
    pub fn from_suffix(suffix: &str) -> Option<Self> {
        TOPICS
            .iter()
            .find(|spec| spec.suffix == suffix)
            .map(|spec| spec.topic)
    }

    /// The part of the name after the prefix.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        TOPICS
            .iter()
            .find(|spec| spec.topic == self)
            .map(|spec| spec.suffix)
            .expect("every topic is made from the table")
    }

    /// The name on Kafka.
    #[must_use]
    pub fn name(self, prefix: &str) -> String {
        format!("{prefix}.{}", self.suffix())
    }
}

/// The topic of commands for a participant; `None` for a name that is no participant.
#[must_use]
pub fn commands_of(participant: &str) -> Option<Topic> {
    Topic::from_suffix(&format!("{participant}.commands"))
}

/// The topic of a service's events; `None` for a name that is no service.
#[must_use]
pub fn events_of(service: &str) -> Option<Topic> {
    Topic::from_suffix(&format!("{service}.events"))
}
