//! The relay as a process, over one or several databases
fn main() {}
