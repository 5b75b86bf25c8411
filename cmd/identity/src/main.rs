//! The identity service as a process.

use std::process::ExitCode;

fn main() -> ExitCode {
    palinode_service::main("identity", palinode_identity::build)
}
