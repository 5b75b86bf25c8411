//! Publishes outboxes to Kafka, in order for each key
