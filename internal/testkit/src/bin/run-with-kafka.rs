//! Runs a command beside a real Kafka of its own.
//!
//! Usage: `run-with-kafka COMMAND [ARGUMENT …]`. A broker is started from its published jars, on
//! any free port and with data that is thrown away; the command runs with
//! `PALINODE_TEST_KAFKA=127.0.0.1:PORT`; the broker is stopped when the command has ended. Where
//! that variable is set already, the broker it names is used and none is started.
//!
//! Exit code: the command's; 1 when there is no broker or the command was killed; 64 without a
//! command.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::{Command, ExitCode};

use anyhow::Context;
use palinode_testkit::Progress;
use palinode_testkit::kafka::{Broker, Options};

/// What tests read the broker's address from.
const ADDRESS: &str = "PALINODE_TEST_KAFKA";

/// Bad usage; source: `EX_USAGE` of sysexits.h.
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    let mut line = env::args_os().skip(1);
    let Some(program) = line.next() else {
        writeln!(io::stderr(), "usage: run-with-kafka COMMAND [ARGUMENT …]").ok();
        return ExitCode::from(EXIT_USAGE);
    };
    let mut command = Command::new(&program);
    command.args(line);
    match run(&program, command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            writeln!(io::stderr(), "error: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

/// Runs the command to its end and gives its exit code.
fn run(program: &OsString, mut command: Command) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let given = env::var_os(ADDRESS).is_some_and(|address| !address.is_empty());
    let broker = if given {
        None
    } else {
        let options = Options {
            progress: Progress::Stderr,
            ..Options::default()
        };
        let broker = runtime.block_on(Broker::start(options))?;
        command.env(ADDRESS, broker.address());
        Some(broker)
    };
    // The runtime stands still meanwhile; the broker is a process and does not need it.
    let ended = command
        .status()
        .with_context(|| program.to_string_lossy().into_owned());
    if let Some(broker) = broker {
        runtime.block_on(broker.stop());
    }
    let code = ended?.code().unwrap_or(1);
    Ok(u8::try_from(code).unwrap_or(1))
}
