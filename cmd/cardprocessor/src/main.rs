//! The simulated card processor as a process.

use std::process::ExitCode;

fn main() -> ExitCode {
    palinode_service::main("cardprocessor", palinode_cardprocessor::build)
}
