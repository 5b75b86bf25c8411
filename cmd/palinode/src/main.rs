//! The tool: dev, serve, demo, migrate, saga
fn main() {}
