//! The transactional outbox: messages appended in the caller's transaction
