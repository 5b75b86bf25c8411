//! The shipping service as a process
fn main() {}
