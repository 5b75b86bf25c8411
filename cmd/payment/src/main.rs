//! The payment service as a process.

use std::process::ExitCode;

fn main() -> ExitCode {
    palinode_service::main("payment", palinode_payment::build)
}
