//! The saga plan and the pure engine that interprets it
