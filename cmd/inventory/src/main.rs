//! The inventory service as a process
fn main() {}
