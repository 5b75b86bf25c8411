//! Kafka: envelope, topics, producer settings and the batch loop of consumers
