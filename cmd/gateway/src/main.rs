//! The gateway service as a process
fn main() {}
