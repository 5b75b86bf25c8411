use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use palinode_lab::atlas::Mutant;
use palinode_lab::part;
use palinode_service::{Config, Part, PlanVersion};

mod bench;
mod outbox;
mod saga;
mod session;

pub(crate) use bench::Bench;
pub(crate) use outbox::Outbox;
pub(crate) use saga::{At, Bulks, BulksCommand, Saga, Start, Verb};
pub(crate) use session::{SignIn, SignOut};

/// Palinode: orders as sagas that can take back what they have done.
#[derive(Debug, Parser)]
#[command(name = "palinode", version)]
pub(crate) struct Line {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything in one process, on a PostgreSQL and a broker of its own, with demo data
    Dev(Dev),
    /// Run one or several services as a process
    Serve(Serve),
    /// Run every service as a process of its own, on Kafka and PostgreSQL, on this machine
    Stack(Stack),
    /// Create or update databases and topics
    Migrate(Migrate),
    /// Place a stream of orders, some of which must fail, and check what became of them
    Demo(Demo),
    /// Open a session at a gateway, for the commands that ask it
    SignIn(SignIn),
    /// End the session at a gateway
    SignOut(SignOut),
    /// Look at sagas, and act on them
    #[command(subcommand)]
    Saga(Saga),
    /// Look at outboxes and what is parked in them, and act on them
    #[command(subcommand)]
    Outbox(Outbox),
    /// Look at plans
    #[command(subcommand)]
    Plan(Plan),
    /// Explore what can become of a plan
    #[command(subcommand)]
    Lab(Lab),
    /// Measure
    #[command(subcommand)]
    Bench(Bench),
}

#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  palinode plan draw place-order > place-order.mmd")]
pub(crate) enum Plan {
    /// List the plans of this release
    #[command(after_help = "Example:\n  palinode plan list")]
    List,
    /// Show a plan, step by step
    #[command(after_help = "Example:\n  palinode plan show place-order")]
    Show {
        /// Its name, or name@version
        plan: String,
    },
    /// Check a plan: its rules, its fields, and every path with up to two faults
    #[command(after_help = "Example:\n  palinode plan check place-order")]
    Check {
        /// Its name, or name@version
        plan: String,
    },
    /// Show which sagas of one version could go on under another. Exit code 0 only when all could
    #[command(after_help = "Example:\n  palinode plan migrate place-order@1 place-order@2")]
    Migrate {
        /// The version that they have, such as place-order@1
        from: String,
        /// The version that they would have
        to: String,
    },
    /// Draw a plan
    #[command(after_help = "Example:\n  palinode plan draw place-order --as dot | dot -Tsvg")]
    Draw {
        /// Its name, or name@version
        plan: String,
        /// How
        #[arg(long = "as", value_enum, default_value_t = Drawing::Mermaid)]
        drawing: Drawing,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Drawing {
    /// A Mermaid flowchart
    Mermaid,
    /// The language of Graphviz
    Dot,
    /// All of it, as it is stored
    Json,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  palinode lab explore place-order")]
pub(crate) enum Lab {
    /// Go through everything that can become of a plan, with faults at every place
    Explore(Explore),
    /// Let one thing happen again, moment by moment
    Replay(Replay),
    /// Draw long runs with many faults
    Random(Random),
    /// Play what was simulated on the real orchestrator and a real participant, on PostgreSQL
    #[command(after_help = "Example:
  palinode lab conform place-order --json

Every path that one fault can lead to, and every scenario, event by event. Exit code 0 only when
state, history, guard rows, messages and ledger are after each event what the simulation has.")]
    Conform {
        /// Its name, or name@version
        plan: String,
        /// End with one JSON object on a line of its own
        #[arg(long)]
        json: bool,
    },
    /// Force every class of bugs that was seen in other engines
    #[command(after_help = "Example:\n  palinode lab seen --json")]
    Seen {
        /// End with one JSON object on a line of its own
        #[arg(long)]
        json: bool,
    },
    /// Plant bugs in the simulated world, and see whether each is found
    #[command(after_help = "Examples:
  palinode lab mutants --json
  palinode lab mutants --only no-tombstone")]
    Mutants {
        /// One of them
        #[arg(long, value_name = "BUG", value_parser = mutant)]
        only: Option<Mutant>,
        /// End with one JSON object on a line of its own
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  palinode lab explore place-order --faults 2 --json
  palinode lab explore place-order --out ./atlas
  palinode lab explore parallel
  palinode lab explore place-order@1 --migrate-to place-order@2
  palinode lab explore place-order --world restored --faults 1
  palinode lab explore place-order --with cancel-order

Plans are those of this release and, for the lab only, `parallel`. The engine and the guard are
those that run sagas; participants, broker, clock and crashes are simulated. Budgets are shortened
to a few attempts. Exit code 0 only when nothing is violated, every planned fault was reached and,
with two faults, every transition made.")]
pub(crate) struct Explore {
    /// Its name, or name@version
    pub(crate) plan: String,
    /// Faults at the same time, at the most
    #[arg(long, visible_alias = "k", default_value_t = 2,
          value_parser = clap::value_parser!(u8).range(0..=3))]
    pub(crate) faults: u8,
    /// Only say how many scenarios there are, by part
    #[arg(long, conflicts_with_all = ["out", "unreduced"])]
    pub(crate) count: bool,
    /// Write report.html, report.json, junit.xml and paths.mmd into this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// In a world in which something happens that no saga is promised to survive
    #[arg(long, value_enum, conflicts_with_all = ["out", "unreduced", "count"])]
    pub(crate) world: Option<Beyond>,
    /// Move the saga to this plan wherever it fits, and go on from there
    #[arg(long, value_name = "PLAN", conflicts_with_all = ["out", "unreduced", "count", "world"])]
    pub(crate) migrate_to: Option<String>,
    /// Together with a saga of this plan, on the same order, in every interleaving
    #[arg(long, value_name = "PLAN",
          conflicts_with_all = ["out", "unreduced", "count", "world", "migrate_to"])]
    pub(crate) with: Option<String>,
    /// Without what makes the search small: a timer may also come before a message
    #[arg(long = "no-reduction")]
    pub(crate) unreduced: bool,
    /// End with one JSON object on a line of its own
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Beyond {
    /// An external system forgets its idempotency keys
    Forgetful,
    /// A participant is restored to what it was one transaction ago
    Restored,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  palinode lab replay place-order charge-payment/forward/P8/crash
  palinode lab replay place-order reserve-stock/forward/failed+open-order/backward/never
  palinode lab replay place-order none

The shortest schedule with exactly these faults; `palinode lab explore --count --json` lists the
scenarios. Exit code 0 only when nothing is violated.")]
pub(crate) struct Replay {
    /// Its name, or name@version
    pub(crate) plan: String,
    /// A scenario, or faults joined by `+`, or `none`
    pub(crate) scenario: String,
    /// Exactly these events, as a violation names them
    #[arg(long, value_name = "EVENTS")]
    pub(crate) schedule: Option<String>,
    /// In a world with this planted bug
    #[arg(long, value_name = "BUG", value_parser = mutant)]
    pub(crate) mutant: Option<Mutant>,
    /// End with one JSON object on a line of its own
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  palinode lab random place-order --seeds 10000 --faults 8
  palinode lab random place-order --sagas 200 --seeds 100 --faults 400

Each run takes any order of events and up to so many faults, and then has to come to rest. Its seed
gives the same run again. Exit code 0 only when nothing is violated.")]
pub(crate) struct Random {
    /// Its name, or name@version
    pub(crate) plan: String,
    /// How many runs
    #[arg(long, default_value_t = 1_000,
          value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) seeds: u64,
    /// The first seed; the others follow
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// So many sagas in each run, which want more of one product and one wallet than there is
    #[arg(long, value_parser = clap::value_parser!(u16).range(2..=1_000))]
    pub(crate) sagas: Option<u16>,
    /// Faults in a run, at the most
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    pub(crate) faults: u32,
    /// End with one JSON object on a line of its own
    #[arg(long)]
    pub(crate) json: bool,
}

fn mutant(word: &str) -> Result<Mutant, String> {
    Mutant::named(word).ok_or_else(|| {
        let words = Mutant::ALL.map(Mutant::word);
        format!("there are: {}", words.join(", "))
    })
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  palinode dev --data-dir ./data

The last line of the start is `ready URL`. Ctrl-C stops everything; with --data-dir the next start
goes on where this one stopped. Without --kafka, events that were published and not read are gone
after a stop; commands and replies of running sagas are sent again.

PALINODE_PG_BIN names the folder of PostgreSQL's binaries, or is `fetch` for the pinned build.")]
pub(crate) struct Dev {
    /// The gateway's port; 0: any free one [default: 8080, or any free one if that is taken]
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// Keep the databases in this folder [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Use this Kafka instead of the broker in the process
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) kafka: Option<String>,
    /// Use this PostgreSQL server, on which databases `palinode_<area>` may be created
    #[arg(long, value_name = "URL", conflicts_with = "data_dir")]
    pub(crate) database_url: Option<String>,
    /// The version of a plan that new sagas run; may be repeated [default: the one that is current]
    #[arg(long = "plan", value_name = "NAME@VERSION")]
    pub(crate) plans: Vec<PlanVersion>,
    /// Requests a second that one caller may make, and twice as many at once; 0: any number
    #[arg(
        long,
        env = "PALINODE_RATE_LIMIT",
        value_name = "N",
        default_value_t = 100
    )]
    pub(crate) rate_limit: u32,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Settings of several commands.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// What the names of topics and consumer groups begin with
    #[arg(long, value_name = "NAME", default_value = "palinode")]
    pub(crate) topic_prefix: String,
    /// OTLP collector for spans, over gRPC [default: spans are not exported]
    #[arg(long, env = "PALINODE_OTLP_ENDPOINT", value_name = "URL")]
    pub(crate) otlp_endpoint: Option<String>,
    /// Which log lines are written to standard error
    #[arg(
        long,
        env = "PALINODE_LOG",
        value_name = "FILTER",
        default_value = "warn,sqlx=error"
    )]
    pub(crate) log: String,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  palinode serve order --database-url postgres://palinode@127.0.0.1:5432 --kafka 127.0.0.1:9092

The databases and topics must be there: run `palinode migrate` before. Ends with 0 on SIGTERM.")]
pub(crate) struct Serve {
    #[arg(required = true, value_name = "SERVICE", value_parser = service_name,
          help = services().join(", "))]
    pub(crate) services: Vec<String>,
    #[command(flatten)]
    pub(crate) config: Box<Config>,
}

impl Serve {
    pub(crate) fn parts(&self) -> Vec<Part> {
        self.services.iter().filter_map(|name| part(name)).collect()
    }
}

fn services() -> Vec<&'static str> {
    palinode_service::SERVICES
        .iter()
        .map(|spec| spec.name)
        .collect()
}

fn service_name(name: &str) -> Result<String, String> {
    let names = services();
    if names.contains(&name) {
        Ok(name.to_owned())
    } else {
        Err(format!("it is none of {}", names.join(", ")))
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  palinode stack --dir ./stack --kafka 127.0.0.1:9092

Without --kafka, Apache Kafka is started in KRaft mode from its published jars (Java 17; Maven
fetches them once). Data and the log of each service stay in --dir. Ctrl-C takes all of it down.")]
pub(crate) struct Stack {
    /// Where data and logs are kept
    #[arg(long, value_name = "DIR", default_value = "palinode-stack")]
    pub(crate) dir: PathBuf,
    /// The gateway's port; 0: any free one
    #[arg(long, default_value_t = 8080)]
    pub(crate) port: u16,
    /// Use this Kafka
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) kafka: Option<String>,
    /// Use this PostgreSQL server, on which databases `palinode_<area>` may be created
    #[arg(long, value_name = "URL")]
    pub(crate) database_url: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  palinode migrate --database-url postgres://palinode@127.0.0.1:5432 --kafka 127.0.0.1:9092

Creates the database `palinode_<area>` of each service unless it is there, brings all up to date,
creates missing topics and writes their names into the databases. May be repeated.")]
pub(crate) struct Migrate {
    /// The PostgreSQL server
    #[arg(
        long,
        env = "PALINODE_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub(crate) database_url: String,
    /// Kafka
    #[arg(
        long,
        env = "PALINODE_KAFKA",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:9092"
    )]
    pub(crate) kafka: String,
    /// What the names of topics begin with
    #[arg(
        long = "topic-prefix",
        env = "PALINODE_TOPIC_PREFIX",
        value_name = "NAME",
        default_value = "palinode"
    )]
    pub(crate) prefix: String,
    /// Partitions of topics that are created; a divisor of 64
    #[arg(long, value_name = "N", default_value_t = 8,
          value_parser = partitions)]
    pub(crate) partitions: i32,
}

fn partitions(text: &str) -> Result<i32, String> {
    let count = text
        .parse()
        .ok()
        .filter(|count| [1, 2, 4, 8, 16, 32, 64].contains(count));
    count.ok_or_else(|| "it is none of 1, 2, 4, 8, 16, 32, 64".to_owned())
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  palinode demo --embedded --orders 500 --seed 7
  palinode demo --chaos --orders 300 --kafka 127.0.0.1:9092 --json

Half of the orders are paid by wallet, half by card; two in sixteen must fail at each step. At the
end the invariants are checked by SQL over all databases. Exit code 0 only without a violation and
with nothing unfinished. With --json the last line of the output is one JSON object.")]
pub(crate) struct Demo {
    /// How many orders
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) orders: u32,
    /// Decides which orders
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Clients at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) clients: u32,
    /// Orders per second at the most [default: as they come]
    #[arg(long, value_name = "N", conflicts_with = "chaos",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) rate: Option<u32>,
    /// On a stack of its own with the broker in the process (this is the default)
    #[arg(long, conflicts_with_all = ["kafka", "server"])]
    pub(crate) embedded: bool,
    /// On a stack of its own, on this Kafka
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "server")]
    pub(crate) kafka: Option<String>,
    /// On a stack that runs, such as http://127.0.0.1:8080; what its REST does not show is skipped
    #[arg(long, value_name = "URL", conflicts_with = "chaos")]
    pub(crate) server: Option<String>,
    /// Every service as a process of its own; each is killed twice at least while orders run. On
    /// Kafka from its jars where there is Java and neither --kafka nor --embedded is given
    #[arg(long)]
    pub(crate) chaos: bool,
    /// End with one JSON object on a line of its own
    #[arg(long)]
    pub(crate) json: bool,
    /// Which log lines are written to standard error
    #[arg(
        long,
        env = "PALINODE_LOG",
        value_name = "FILTER",
        default_value = "warn,sqlx=error"
    )]
    pub(crate) log: String,
}
