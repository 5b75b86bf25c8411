//! The shipping service as a process.

use std::process::ExitCode;

fn main() -> ExitCode {
    palinode_service::main("shipping", palinode_shipping::build)
}
