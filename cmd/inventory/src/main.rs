//! The inventory service as a process.

use std::process::ExitCode;

fn main() -> ExitCode {
    palinode_service::main("inventory", palinode_inventory::build)
}
