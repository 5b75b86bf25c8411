//! One harness for every process: arguments, tasks, health and graceful shutdown
