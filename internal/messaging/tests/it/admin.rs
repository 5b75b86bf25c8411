use std::time::Duration;

use palinode_messaging::{BrokerKind, Error, Kafka, TOPICS, create_topics, partitions, reachable};

use crate::stack::Stack;

#[tokio::test]
async fn every_topic_of_the_table_is_there_and_creating_them_again_is_harmless() {
    let stack = Stack::start(2).await;
    create_topics(&stack.kafka, 2, 1).await.unwrap();
    let found = partitions(&stack.kafka).await.unwrap();
    let expected: Vec<_> = TOPICS.iter().map(|spec| (spec.topic, 2)).collect();
    assert_eq!(found, expected);
    stack.end().await;
}

#[tokio::test]
async fn missing_topics_are_named() {
    let stack = Stack::start(1).await;
    let other = Kafka {
        prefix: "other".to_owned(),
        ..stack.kafka.clone()
    };
    let error = partitions(&other).await.unwrap_err();
    let Error::Missing(names) = error else {
        panic!("{error}");
    };
    assert_eq!(names.len(), TOPICS.len());
    assert_eq!(names[0], "other.orchestrator.commands");
    stack.end().await;
}

#[tokio::test]
async fn an_address_where_nothing_answers_is_named() {
    let kafka = Kafka {
        bootstrap: "127.0.0.1:1".to_owned(),
        prefix: "test".to_owned(),
        broker: BrokerKind::Real,
    };
    let error = reachable(&kafka, Duration::from_millis(300)).await;
    let words = error.unwrap_err().to_string();
    assert_eq!(words, "no Kafka broker answers at 127.0.0.1:1");
}
