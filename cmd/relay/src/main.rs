//! The relay as a process, over one or several databases.

use std::process::ExitCode;

fn main() -> ExitCode {
    palinode_service::main("relay", palinode_service::build_relay)
}
