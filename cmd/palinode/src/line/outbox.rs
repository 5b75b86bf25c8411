use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use palinode_lab::outbox::{self, Mode, Outboxes, Verdict};
use palinode_lab::sagas::Format;
use palinode_lab::sagas::bulk::Consent;
use palinode_lab::server_of;

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  palinode outbox status --database-url postgres://palinode@127.0.0.1:5432
  palinode outbox parked --service order

What is said here is read from the databases, as every service has an outbox in its own.")]
pub(crate) enum Outbox {
    /// Show how every outbox is doing. Exit code 0 only when nothing is wrong
    #[command(after_help = "Example:
  palinode outbox status --service orchestrator --json

Rows are counted up to ten thousand; above that stands PostgreSQL's estimate, with a ~. A line below
the table says what is wrong, and the one below that which command may help.")]
    Status {
        #[command(flatten)]
        at: Databases,
    },
    /// Show each lane: who publishes it, until when, and its oldest row
    #[command(after_help = "Example:\n  palinode outbox lanes --service payment")]
    Lanes {
        #[command(flatten)]
        at: Databases,
    },
    /// Publish nothing from lanes until they are resumed
    #[command(after_help = EXAMPLE_PAUSE)]
    Pause(Lanes),
    /// Let paused lanes go on
    #[command(after_help = "Example:\n  palinode outbox resume all --service order")]
    Resume(Lanes),
    /// Say how outboxes are emptied: what is published is deleted (queue), or stays for a while (log)
    #[command(after_help = EXAMPLE_MODE)]
    Mode {
        /// How
        mode: OutboxMode,
        #[command(flatten)]
        at: Databases,
    },
    /// List what can be neither published nor handled as it is, and decide about it
    #[command(after_help = EXAMPLE_PARKED)]
    Parked(Parked),
}

const EXAMPLE_PAUSE: &str = "Examples:
  palinode outbox pause 17 --service order
  palinode outbox pause 0-31
  palinode outbox pause all --service payment

Lanes are numbered 0 to 63, and a key has the same lane in every outbox. The relay stops reading a
lane with its next renewal, within four seconds.";

const EXAMPLE_MODE: &str = "Examples:
  palinode outbox mode log --service order
  palinode outbox mode queue

A log suits an outbox that is written at a high rate, or whose database has transactions that stay open
for long: nothing is deleted, a cursor moves over the rows, and the table is emptied as a whole from time
to time. Writers wait while the table is changed, relays notice by themselves, and nothing is lost. Which
mode an outbox has is in palinode outbox status.";

const EXAMPLE_PARKED: &str = "Examples:
  palinode outbox parked --service order
  palinode outbox parked show order/17
  palinode outbox parked replay order/17 --reason 'the topic is there now'
  palinode outbox parked skip payment/palinode.payment.commands/3/42 --reason 'no such message'

A record is named SERVICE/ID when it could not be published, and SERVICE/TOPIC/PARTITION/OFFSET when a
consumer could not handle it. The exit code of the list is 0 only when nothing is parked.";

/// How an outbox is emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OutboxMode {
    /// What is published is deleted
    Queue,
    /// What is published stays for a while, and a cursor moves over it
    Log,
}

impl From<OutboxMode> for Mode {
    fn from(mode: OutboxMode) -> Self {
        match mode {
            OutboxMode::Queue => Self::Queue,
            OutboxMode::Log => Self::Log,
        }
    }
}

/// Which databases, and how to answer.
#[derive(Debug, Args)]
pub(crate) struct Databases {
    /// The PostgreSQL server that holds all databases
    #[arg(
        long,
        env = "PALINODE_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub(crate) database_url: Option<String>,
    /// Only the outbox of this service
    #[arg(long, value_name = "NAME")]
    pub(crate) service: Option<String>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Lanes {
    /// Numbers, ranges such as 8-15, or all
    #[arg(required = true, value_name = "LANE")]
    pub(crate) lanes: Vec<String>,
    #[command(flatten)]
    pub(crate) at: Databases,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Parked {
    #[command(subcommand)]
    pub(crate) command: Option<ParkedCommand>,
    #[command(flatten)]
    pub(crate) list: List,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// How many of each service and kind at the most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) at: Databases,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ParkedCommand {
    /// List what is parked
    #[command(after_help = "Example:\n  palinode outbox parked list --limit 1000 --json")]
    List(List),
    /// Show one record, with its headers and its body
    #[command(after_help = "Example:\n  palinode outbox parked show order/17")]
    Show {
        /// As the list names it
        record: String,
        #[command(flatten)]
        at: Databases,
    },
    /// Publish records once more, in the order of their keys; those behind them follow
    #[command(after_help = EXAMPLE_REPLAY)]
    Replay(Decide),
    /// Drop records for good; those behind them go on
    #[command(after_help = EXAMPLE_SKIP)]
    Skip(Decide),
}

const EXAMPLE_REPLAY: &str = "Example:
  palinode outbox parked replay order/17 --reason 'the topic is there now' --yes

What would happen is shown first, and done once it is consented to. The relay that owns the lane
carries it out; a record whose fault still stands is parked again. What a consumer parked goes to the
end of its topic and is handled once more; events are read in order, and can only be skipped.
Exit code 0 when all of them are published.";

const EXAMPLE_SKIP: &str = "Example:
  palinode outbox parked skip order/17 --reason 'the order was a test' --yes

What would happen is shown first, and done once it is consented to. A dropped record is gone; who
dropped it and why is kept. Exit code 0 when all of them are dropped.";

#[derive(Debug, Args)]
pub(crate) struct Decide {
    /// As the list names them
    #[arg(required = true, value_name = "RECORD")]
    pub(crate) records: Vec<String>,
    /// Why; it is kept
    #[arg(long, value_name = "WORDS")]
    pub(crate) reason: String,
    /// Who; it is kept
    #[arg(
        long = "as",
        env = "USER",
        value_name = "NAME",
        default_value = "operator"
    )]
    pub(crate) principal: String,
    /// Do not ask once it is shown what would happen
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) at: Databases,
}

impl Databases {
    async fn open(&self) -> anyhow::Result<(Outboxes, Format)> {
        let format = if self.json {
            Format::Json
        } else {
            Format::Table
        };
        let url = self.database_url.as_ref();
        let url =
            url.context("say where they are: --database-url URL, or PALINODE_DATABASE_URL")?;
        let outboxes = Outboxes::open(&server_of(url), self.service.as_deref()).await?;
        Ok((outboxes, format))
    }
}

impl Outbox {
    /// Asks the databases, or changes what they say.
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let mut out = std::io::stdout();
        let good = match self {
            Self::Status { at } => {
                let (outboxes, format) = at.open().await?;
                outbox::status(&outboxes, format, &mut out).await?
            }
            Self::Lanes { at } => {
                let (outboxes, format) = at.open().await?;
                outbox::lanes(&outboxes, format, &mut out).await?;
                true
            }
            Self::Pause(line) => line.set_paused(true).await?,
            Self::Resume(line) => line.set_paused(false).await?,
            Self::Mode { mode, at } => {
                let (outboxes, format) = at.open().await?;
                outbox::set_mode(&outboxes, mode.into(), format, &mut out).await?;
                true
            }
            Self::Parked(line) => line.run().await?,
        };
        Ok(if good {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

impl Lanes {
    async fn set_paused(self, paused: bool) -> anyhow::Result<bool> {
        let lanes = outbox::lanes_named(&self.lanes)?;
        let (outboxes, format) = self.at.open().await?;
        let mut out = std::io::stdout();
        outbox::set_paused(&outboxes, &lanes, paused, format, &mut out).await?;
        Ok(true)
    }
}

impl Parked {
    async fn run(self) -> anyhow::Result<bool> {
        let mut out = std::io::stdout();
        match self.command.unwrap_or(ParkedCommand::List(self.list)) {
            ParkedCommand::List(line) => {
                let (outboxes, format) = line.at.open().await?;
                outbox::list(&outboxes, line.limit, format, &mut out).await
            }
            ParkedCommand::Show { record, at } => {
                let (outboxes, format) = at.open().await?;
                outbox::show(&outboxes, &record, format, &mut out).await?;
                Ok(true)
            }
            ParkedCommand::Replay(line) => line.decide(Verdict::Replay).await,
            ParkedCommand::Skip(line) => line.decide(Verdict::Skip).await,
        }
    }
}

impl Decide {
    async fn decide(self, verdict: Verdict) -> anyhow::Result<bool> {
        let (outboxes, format) = self.at.open().await?;
        let decision = outbox::Decision {
            records: self.records,
            verdict,
            principal: self.principal,
            reason: self.reason,
        };
        let consent = Consent::of(self.yes);
        outbox::decide(
            &outboxes,
            &decision,
            consent,
            format,
            &mut std::io::stdout(),
        )
        .await
    }
}
