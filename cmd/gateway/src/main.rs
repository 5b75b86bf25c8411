//! The gateway as a process.

use std::process::ExitCode;

fn main() -> ExitCode {
    palinode_service::main("gateway", palinode_gateway::build)
}
