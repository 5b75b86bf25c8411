use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use palinode_lab::bench::{
    self, AtRest, Common, Edge, Floor, Growth, Pace, Recovery, RelayBench, Report, Sagas, Through,
};
use palinode_telemetry::{LogFormat, init_logs};

use super::outbox::OutboxMode;

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  palinode bench sagas --seconds 30 --json
  palinode bench at-rest --json

Each runs on a stack of its own, thrown away at the end; nothing durable is switched off. Without
--kafka the broker is the one in this process. Exit code 0 only when nothing was violated.")]
pub(crate) enum Bench {
    /// How long an operator's questions take beside very many sagas, on a throw-away PostgreSQL
    #[command(
        after_help = "Example:\n  palinode bench at-rest --sagas 1000000 --in-flight 10000 --json"
    )]
    AtRest {
        /// Sagas that have ended
        #[arg(long, default_value_t = 1_000_000,
              value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
        sagas: u32,
        /// Sagas under way, of which a few need somebody to look
        #[arg(long, default_value_t = 10_000,
              value_parser = clap::value_parser!(u32).range(1_000..=1_000_000))]
        in_flight: u32,
        /// End with one JSON object on a line of its own
        #[arg(long)]
        json: bool,
    },
    /// Sagas of place-order from the call to their end: closed loop, or open loop with --rate
    #[command(after_help = "Examples:
  palinode bench sagas --kafka 127.0.0.1:9092 --seconds 300 --json
  palinode bench sagas --rate 1000 --failing 10 --cards 50
  palinode bench sagas --in-flight 200 --hot --through rest")]
    Sagas {
        /// Closed loop: so many sagas are under way
        #[arg(long, value_name = "N", default_value_t = bench::IN_FLIGHT,
              value_parser = clap::value_parser!(u32).range(1..=20_000))]
        in_flight: u32,
        /// Open loop: so many orders a second, evenly spaced
        #[arg(long, value_name = "N", conflicts_with = "in_flight",
              value_parser = clap::value_parser!(u32).range(1..=100_000))]
        rate: Option<u32>,
        /// Percent of orders that fail at their last step, so that all is taken back
        #[arg(long, value_name = "PERCENT", default_value_t = 0,
              value_parser = clap::value_parser!(u8).range(0..=100))]
        failing: u8,
        /// Percent of orders paid by card, which is one call and one commit more
        #[arg(long, value_name = "PERCENT", default_value_t = 0,
              value_parser = clap::value_parser!(u8).range(0..=100))]
        cards: u8,
        /// All orders are over one SKU
        #[arg(long)]
        hot: bool,
        /// Through which door orders are placed
        #[arg(long, value_enum, default_value_t = Door::Grpc)]
        through: Door,
        #[command(flatten)]
        common: BenchArgs,
    },
    /// What one order takes, from the call through REST to the end of its saga: open loop
    #[command(after_help = "Example:\n  palinode bench latency --rate 50 --json")]
    Latency {
        /// Orders a second, evenly spaced
        #[arg(long, value_name = "N", default_value_t = 50,
              value_parser = clap::value_parser!(u32).range(1..=100_000))]
        rate: u32,
        #[command(flatten)]
        common: BenchArgs,
    },
    /// How fast the relay drains an outbox, and what it adds to a steady stream; checks that nothing
    /// is lost, and the order of every key
    #[command(after_help = "Example:
  palinode bench relay --kafka 127.0.0.1:9092 --events 1000000 --rate 5000 --seconds 20 --json")]
    Relay {
        /// How the relay empties the outbox
        #[arg(long, value_enum, default_value_t = OutboxMode::Queue)]
        mode: OutboxMode,
        /// Events that stand in the outbox when the relay starts
        #[arg(long, value_name = "N", default_value_t = 200_000,
              value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
        events: u32,
        /// Events a second of the live phase, ten a commit
        #[arg(long, value_name = "N", default_value_t = 5_000,
              value_parser = clap::value_parser!(u32).range(10..=100_000))]
        rate: u32,
        #[command(flatten)]
        common: BenchArgs,
    },
    /// What spans cost: three pairs of runs in a closed loop, without and with every span exported
    #[command(after_help = "Example:\n  palinode bench telemetry --seconds 15 --json")]
    Telemetry {
        /// So many sagas are under way
        #[arg(long, value_name = "N", default_value_t = bench::IN_FLIGHT,
              value_parser = clap::value_parser!(u32).range(1..=20_000))]
        in_flight: u32,
        #[command(flatten)]
        common: BenchArgs,
    },
    /// What this machine does at best: the same statements on PostgreSQL alone, the same records on
    /// Kafka alone
    #[command(after_help = "Example:\n  palinode bench floor --kafka 127.0.0.1:9092 --json")]
    Floor {
        /// Sagas of one transaction, of which `sagas_per_s` is told; 1, 10, 50 and 200 are measured too
        #[arg(long, value_name = "N", default_value_t = 50,
              value_parser = clap::value_parser!(u32).range(1..=500))]
        batch: u32,
        /// Connections to each database: batches that are on their way at once
        #[arg(long, value_name = "N", default_value_t = 4,
              value_parser = clap::value_parser!(u32).range(1..=16))]
        connections: u32,
        #[command(flatten)]
        common: BenchArgs,
    },
    /// How soon sagas under way go on when every process was killed (SIGKILL) and started again
    #[command(
        after_help = "Example:\n  palinode bench recovery --in-flight 100000 --kafka 127.0.0.1:9092 --json"
    )]
    Recovery {
        /// Sagas under way, each waiting for the answer to its first step
        #[arg(long, value_name = "N", default_value_t = 100_000,
              value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
        in_flight: u32,
        #[command(flatten)]
        common: BenchArgs,
    },
    /// Throughput, latency and memory beside more and more sagas that have ended: 10^3, 10^4 and so
    /// on, each of them really run
    #[command(after_help = "Example:\n  palinode bench growth --to 1000000 --json")]
    Growth {
        /// Sagas that have ended before the last is measured
        #[arg(long, value_name = "N", default_value_t = 1_000_000,
              value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
        to: u64,
        /// Sagas under way
        #[arg(long, value_name = "N", default_value_t = bench::IN_FLIGHT,
              value_parser = clap::value_parser!(u32).range(1..=20_000))]
        in_flight: u32,
        #[command(flatten)]
        common: BenchArgs,
    },
    /// What the gateway adds to a call, and many orders that are watched at once
    #[command(after_help = "Example:\n  palinode bench edge --streams 10000 --json")]
    Edge {
        #[command(flatten)]
        edge: EdgeArgs,
        #[command(flatten)]
        common: BenchArgs,
    },
    /// What a transaction that is left open in each database costs, against none
    #[command(after_help = "Example:\n  palinode bench xmin --rate 500 --seconds 120 --json")]
    Xmin {
        /// Orders a second, evenly spaced
        #[arg(long, value_name = "N", default_value_t = 500,
              value_parser = clap::value_parser!(u32).range(1..=100_000))]
        rate: u32,
        #[command(flatten)]
        common: BenchArgs,
    },
}

/// Orders that all go well.
fn at(pace: Pace) -> Sagas {
    Sagas {
        pace,
        ..Sagas::default()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Door {
    /// The order service's own gRPC
    Grpc,
    /// The gateway's REST
    Rest,
}

/// Settings of every bench.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Use this Kafka instead of the broker in the process
    #[arg(long, value_name = "HOST:PORT")]
    kafka: Option<String>,
    /// Use this PostgreSQL server; databases `palinode_<area>` are made there, and dropped
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// Partitions of each topic on a real Kafka; divides 64 [default: 1, as there is one instance of
    /// each service; `relay`: 8]
    #[arg(long, value_name = "N", value_parser = super::partitions)]
    partitions: Option<i32>,
    /// How long to measure [default: as the bench finds right]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: Option<u32>,
    /// Count and rank PostgreSQL's statements, which costs some percent (pg_stat_statements)
    #[arg(long, conflicts_with = "database_url")]
    statements: bool,
    /// End with one JSON object on a line of its own
    #[arg(long)]
    json: bool,
    /// Draw plots as SVG into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Which log lines are written to standard error
    #[arg(
        long,
        env = "PALINODE_LOG",
        value_name = "FILTER",
        default_value = "warn,sqlx=error"
    )]
    log: String,
}

impl BenchArgs {
    fn common(&self) -> Common {
        Common {
            kafka: self.kafka.clone(),
            database_url: self.database_url.clone(),
            partitions: self.partitions,
            seconds: self.seconds,
            ranks_statements: self.statements,
        }
    }

    fn log(&self) -> anyhow::Result<()> {
        Ok(init_logs(&self.log, LogFormat::Text)?)
    }

    fn show(&self, report: &Report) -> anyhow::Result<ExitCode> {
        let mut out = std::io::stdout().lock();
        report.write(&mut out)?;
        if let Some(dir) = &self.out {
            report.draw(dir)?;
        }
        if self.json {
            report.write_json(&mut out)?;
        }
        out.flush()?;
        Ok(if report.is_good() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

#[derive(Debug, Args)]
pub(crate) struct EdgeArgs {
    /// Calls through the gateway, and as many past it
    #[arg(long, value_name = "N", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(20..=1_000_000))]
    calls: u32,
    /// Orders that are watched at the same time
    #[arg(long, value_name = "N", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(1..=20_000))]
    streams: u32,
    /// Executable of Envoy, to ask for the same list through its gRPC-JSON transcoder
    #[arg(long, value_name = "PATH")]
    envoy: Option<PathBuf>,
}

impl EdgeArgs {
    fn options(self) -> Edge {
        let Self {
            calls,
            streams,
            envoy,
        } = self;
        Edge {
            calls,
            streams,
            envoy,
        }
    }
}

impl Bench {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::AtRest {
                sagas,
                in_flight,
                json,
            } => {
                let options = AtRest { sagas, in_flight };
                bench::at_rest(options, json, &mut std::io::stdout()).await?;
                Ok(ExitCode::SUCCESS)
            }
            Self::Sagas {
                in_flight,
                rate,
                failing,
                cards,
                hot,
                through,
                common,
            } => {
                let options = Sagas {
                    pace: rate.map_or(Pace::InFlight(in_flight), Pace::PerSecond),
                    failing,
                    cards,
                    is_hot: hot,
                    through: match through {
                        Door::Grpc => Through::Grpc,
                        Door::Rest => Through::Rest,
                    },
                };
                common.log()?;
                common.show(&bench::sagas(&common.common(), options).await?)
            }
            Self::Telemetry { in_flight, common } => {
                let options = Sagas {
                    pace: Pace::InFlight(in_flight),
                    ..Sagas::default()
                };
                common.log()?;
                common.show(&bench::telemetry(&common.common(), options).await?)
            }
            Self::Latency { rate, common } => {
                common.log()?;
                common.show(&bench::latency(&common.common(), rate).await?)
            }
            Self::Relay {
                mode,
                events,
                rate,
                common,
            } => {
                common.log()?;
                let mode = mode.into();
                let options = RelayBench { mode, events, rate };
                common.show(&bench::relay(&common.common(), options).await?)
            }
            Self::Floor {
                batch,
                connections,
                common,
            } => {
                common.log()?;
                let options = Floor { batch, connections };
                common.show(&bench::floor(&common.common(), options).await?)
            }
            Self::Recovery { in_flight, common } => {
                common.log()?;
                let program = std::env::current_exe()?;
                let options = Recovery { in_flight, program };
                common.show(&bench::recovery(&common.common(), options).await?)
            }
            Self::Growth {
                to,
                in_flight,
                common,
            } => {
                common.log()?;
                let sagas = at(Pace::InFlight(in_flight));
                let options = Growth { to, sagas };
                common.show(&bench::growth(&common.common(), options).await?)
            }
            Self::Edge { edge, common } => {
                common.log()?;
                common.show(&bench::edge(&common.common(), edge.options()).await?)
            }
            Self::Xmin { rate, common } => {
                common.log()?;
                let options = at(Pace::PerSecond(rate));
                common.show(&bench::xmin(&common.common(), options).await?)
            }
        }
    }
}
