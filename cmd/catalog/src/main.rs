//! The catalog service as a process.

use std::process::ExitCode;

fn main() -> ExitCode {
    palinode_service::main("catalog", palinode_catalog::build)
}
