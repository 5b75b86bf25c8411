//! A simulated external card processor, with records and idempotency keys of its own
