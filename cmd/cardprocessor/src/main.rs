//! The cardprocessor service as a process
fn main() {}
