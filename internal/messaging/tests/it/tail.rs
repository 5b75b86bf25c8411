use palinode_messaging::{Producer, StartAt, TOPICS, TopicTail};
use tokio::time::timeout;

use crate::stack::{LIMIT, Stack, TOPIC, numbered};

#[tokio::test]
async fn a_tail_sees_what_is_published_after_its_start_and_all_of_it_from_the_beginning() {
    let stack = Stack::start(2).await;
    let producer = Producer::start(&stack.kafka).unwrap();
    stack.publish(&producer, "a", &numbered(0..3)).await;
    let topics: Vec<_> = TOPICS.iter().map(|spec| spec.topic).collect();
    let mut live = TopicTail::start(&stack.kafka, &topics, StartAt::End)
        .await
        .unwrap();
    let mut all = TopicTail::start(&stack.kafka, &[TOPIC], StartAt::Beginning)
        .await
        .unwrap();
    stack.publish(&producer, "a", &numbered(3..6)).await;
    for (tail, expected) in [(&mut live, numbered(3..6)), (&mut all, numbered(0..6))] {
        for body in expected {
            let record = timeout(LIMIT, tail.recv()).await.unwrap().unwrap();
            assert_eq!(record.body, body.as_bytes());
            assert_eq!(record.key, "a");
            assert_eq!(record.kind(), Ok("test"));
        }
    }
    stack.end().await;
}

#[tokio::test]
async fn a_tail_starts_on_topics_that_were_just_made() {
    for _ in 0..5 {
        let stack = Stack::start(16).await;
        let topics: Vec<_> = TOPICS.iter().map(|spec| spec.topic).collect();
        let tail = TopicTail::start(&stack.kafka, &topics, StartAt::Beginning).await;
        drop(tail.unwrap());
        stack.end().await;
    }
}
