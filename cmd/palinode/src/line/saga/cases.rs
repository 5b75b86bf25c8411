//! What somebody should look at, and the breakers before participants.

use clap::{Args, Subcommand, ValueEnum};
use palinode_lab::sagas::cases::Question;

use super::At;

/// Cases, or one of them acknowledged.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Cases {
    #[command(subcommand)]
    command: Option<CasesCommand>,
    /// Only cases of this class, such as needs_attention or no_progress
    #[arg(long)]
    class: Option<String>,
    /// How many at the most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Subcommand)]
enum CasesCommand {
    /// Say that somebody has looked at what contradicts in a saga: then it is no case any more
    Acknowledge(Acknowledge),
}

#[derive(Debug, Args)]
struct Acknowledge {
    /// Id of the saga
    saga: String,
    #[command(flatten)]
    at: At,
}

/// Breakers, or one of them set by hand.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Breakers {
    #[command(subcommand)]
    command: Option<BreakersCommand>,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Subcommand)]
enum BreakersCommand {
    /// Hold sagas before a participant, until it is closed by hand
    Open(Set),
    /// Let them go on, at a bounded rate
    Close(Set),
}

#[derive(Debug, Args)]
struct Set {
    /// The participant
    participant: String,
    /// Only one way: those who go forward, or those who go back
    #[arg(long, value_enum)]
    only: Option<Way>,
    /// Why
    #[arg(long, value_name = "WORDS")]
    reason: String,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Way {
    Forward,
    Backward,
}

impl Cases {
    /// What is asked, and where.
    pub(crate) fn question(self) -> (Question, At) {
        match self.command {
            None => {
                let (class, limit) = (self.class, self.limit);
                (Question::Cases { class, limit }, self.at)
            }
            Some(CasesCommand::Acknowledge(line)) => {
                let saga = line.saga;
                (Question::Acknowledge { saga }, line.at)
            }
        }
    }
}

impl Breakers {
    /// What is asked, and where.
    pub(crate) fn question(self) -> (Question, At) {
        let (line, open) = match self.command {
            None => return (Question::Breakers, self.at),
            Some(BreakersCommand::Open(line)) => (line, true),
            Some(BreakersCommand::Close(line)) => (line, false),
        };
        let direction = match line.only {
            None => "",
            Some(Way::Forward) => "forward",
            Some(Way::Backward) => "backward",
        };
        let request = serde_json::json!({
            "direction": direction,
            "open": open,
            "reason": line.reason,
        });
        let participant = line.participant;
        (
            Question::Set {
                participant,
                request,
            },
            line.at,
        )
    }
}
