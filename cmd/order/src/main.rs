//! The order service as a process.

use std::process::ExitCode;

fn main() -> ExitCode {
    palinode_service::main("order", palinode_order::build)
}
