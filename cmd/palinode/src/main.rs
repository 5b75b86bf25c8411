//! Palinode's tool: runs the platform, shows it at work, and looks into it.

mod commands;
mod line;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use line::{Command, Line};
use palinode_service::run_process;

/// Bad usage; source: `EX_USAGE` of sysexits.h.
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    let line = match Line::try_parse() {
        Ok(line) => line,
        Err(error) => {
            // nothing is left to be done when nobody reads it
            error.print().ok();
            let code = if error.use_stderr() { EXIT_USAGE } else { 0 };
            return ExitCode::from(code);
        }
    };
    match line.command {
        // it has a runtime and signals of its own, as every service's executable
        Command::Serve(serve) => run_process(serve.parts(), *serve.config),
        command => commands::run(command).unwrap_or_else(|error| {
            if is_broken_pipe(&error) {
                return ExitCode::SUCCESS;
            }
            writeln!(std::io::stderr(), "error: {error:#}").ok();
            ExitCode::FAILURE
        }),
    }
}

/// The reader has read enough, as in `palinode saga list | head`.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
