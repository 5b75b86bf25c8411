//! The orchestrator service as a process
fn main() {}
