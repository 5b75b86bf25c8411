//! The orchestrator as a process.

use std::process::ExitCode;

fn main() -> ExitCode {
    palinode_service::main("orchestrator", palinode_orchestrator::build)
}
