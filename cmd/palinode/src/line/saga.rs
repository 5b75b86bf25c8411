mod cases;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value as Json, json};

pub(crate) use cases::{Breakers, Cases};

#[derive(Debug, Subcommand)]
#[command(after_help = "Example:
  palinode saga list --state needs-attention")]
pub(crate) enum Saga {
    /// Start a saga of a plan that no service opens, and show it
    #[command(after_help = EXAMPLE_START)]
    Start(Start),
    /// List the newest sagas
    #[command(after_help = "Example:\n  palinode saga list --state compensating --limit 20")]
    List {
        /// Only sagas in this state
        #[arg(long, value_enum)]
        state: Option<SagaState>,
        /// Only sagas that nothing will move on by itself
        #[arg(long, conflicts_with = "state")]
        stuck: bool,
        /// How many at the most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
        limit: u32,
        #[command(flatten)]
        at: At,
    },
    /// Show one saga with its steps
    #[command(after_help = "Example:\n  palinode saga show 0197a1c2-7b1e-7c3a-9d2f-3f5b0c9e1a42")]
    Show {
        /// Id of the saga
        saga: String,
        #[command(flatten)]
        at: At,
    },
    /// Say why one saga waits, and what would help
    #[command(after_help = "Example:\n  palinode saga why 0197a1c2-7b1e-7c3a-9d2f-3f5b0c9e1a42")]
    Why {
        /// Id of the saga
        saga: String,
        #[command(flatten)]
        at: At,
    },
    /// Show what happened in one saga, oldest first
    #[command(
        after_help = "Example:\n  palinode saga history 0197a1c2-7b1e-7c3a-9d2f-3f5b0c9e1a42 --json"
    )]
    History {
        /// Id of the saga
        saga: String,
        #[command(flatten)]
        at: At,
    },
    /// List effects at participants whose saga the orchestrator does not know, as a restore of one
    /// database may leave them. Exit code 0 only when there are none
    #[command(
        after_help = "Example:\n  palinode saga orphans --database-url postgres://palinode@127.0.0.1:5432"
    )]
    Orphans {
        /// The PostgreSQL server that holds all databases
        #[arg(
            long,
            env = "PALINODE_DATABASE_URL",
            hide_env_values = true,
            value_name = "URL"
        )]
        database_url: String,
    },
    /// Act on all sagas that a filter finds: counted first, then at a set rate
    #[command(after_help = EXAMPLE_BULK)]
    Bulk(Box<Bulk>),
    /// List bulks, follow them, stop them
    #[command(
        after_help = "Example:\n  palinode saga bulks show 0197a1c2-7b1e-7c3a-9d2f-3f5b0c9e1a42"
    )]
    Bulks(Bulks),
    /// List what somebody should look at, with the verbs that may help
    #[command(after_help = "Example:\n  palinode saga cases --class needs_attention")]
    Cases(Cases),
    /// List the breakers before participants, open them or close them
    #[command(
        after_help = "Example:\n  palinode saga breakers open payment --reason 'the bank is closed'"
    )]
    Breakers(Breakers),
    #[command(flatten)]
    Act(Verb),
}

const EXAMPLE_START: &str = "Example:
  palinode saga start send-gift --key g-1 --input '{\"recipient\": \"ada\"}' --wait

The same plan, key and input are the same saga, however often it is started. With --wait the exit
code is 0 only when the saga completed.";

/// What is started.
#[derive(Debug, Args)]
pub(crate) struct Start {
    /// The plan; its current version is run
    pub(crate) plan: String,
    /// What the saga is about: there is one saga for each plan and key
    #[arg(long)]
    pub(crate) key: String,
    /// The plan's input message, as JSON
    #[arg(long, value_name = "JSON")]
    pub(crate) input: String,
    /// Show it once it rests, instead of at once
    #[arg(long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

const EXAMPLE_BULK: &str = "Examples:
  palinode saga bulk pause --participant shipping --moved-too --reason 'the carrier is down'
  palinode saga bulk resume --held --older-than 10m --reason 'the carrier is back' --yes
  palinode saga bulk migrate --to 2 --plan place-order@1 --held --reason 'version 1 is retired'

The sagas are frozen, each with its version, and what would happen is counted. Then it is asked for
consent; without a terminal nothing happens unless --yes was given. A saga that moves on meanwhile is
left alone, unless --moved-too was given. Ctrl-C stops the bulk, and it can be gone on with. Exit code
0 when it came to its end.";

/// What is done with which sagas.
#[derive(Debug, Args)]
pub(crate) struct Bulk {
    /// What is done with each
    #[arg(value_enum)]
    verb: BulkVerb,
    /// The version of the plan to move to, with `migrate`
    #[arg(long, value_name = "VERSION", required_if_eq("verb", "migrate"),
          value_parser = clap::value_parser!(i32).range(1..))]
    to: Option<i32>,
    /// Only sagas of this plan: its name, or name@version
    #[arg(long, value_name = "PLAN", value_parser = plan_name)]
    plan: Option<(String, i32)>,
    /// Only sagas in this state
    #[arg(long, value_enum)]
    state: Option<LiveState>,
    /// Only sagas that nothing moves on by itself, for this reason or for any
    #[arg(long, value_name = "REASON", num_args = 0..=1, default_missing_value = "any")]
    stuck: Option<String>,
    /// Only sagas that wait for this step
    #[arg(long, value_name = "STEP")]
    step: Option<String>,
    /// Only sagas that wait for this participant
    #[arg(long, value_name = "NAME")]
    participant: Option<String>,
    /// Only sagas that are held
    #[arg(long)]
    held: bool,
    /// Only sagas that were started that long ago, such as 90s, 10m, 2h, 1d
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    older_than: Option<u64>,
    /// Only sagas whose business key begins so
    #[arg(long, value_name = "PREFIX")]
    key: Option<String>,
    /// Why; it stands in the history of each
    #[arg(long, value_name = "WORDS")]
    reason: String,
    /// Sagas per second
    #[arg(long, value_name = "N", default_value_t = 50,
          value_parser = clap::value_parser!(i32).range(1..=1_000))]
    rate: i32,
    /// Act on sagas that have moved on since they were frozen too, as they are then
    #[arg(long)]
    moved_too: bool,
    /// Do not ask once the counts are shown
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BulkVerb {
    /// Send nothing new until it is resumed
    Pause,
    /// End the pause
    Resume,
    /// Try everything again now that waits or is stuck
    Retry,
    /// Go back, if the plan lets its owner say so
    Cancel,
    /// Go back, whatever the plan says
    ForceCompensate,
    /// Close the case as it is
    Abandon,
    /// Go on under another version of the plan
    Migrate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LiveState {
    Running,
    Compensating,
    NeedsAttention,
}

/// A name, and a version or 0.
fn plan_name(text: &str) -> Result<(String, i32), String> {
    match text.split_once('@') {
        None => Ok((text.to_owned(), 0)),
        Some((name, version)) => match version.parse() {
            Ok(version @ 1..) => Ok((name.to_owned(), version)),
            _ => Err("after @ stands a version, such as place-order@1".to_owned()),
        },
    }
}

fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || "it is a number and s, m, h or d, such as 10m".to_owned();
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let number = &text[..text.len() - unit.len_utf8()];
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_error| wrong())?;
    number.checked_mul(seconds).ok_or_else(wrong)
}

impl Bulk {
    /// The request, as in the contract.
    pub(crate) fn request(&self) -> Json {
        let state = self.state.map(|state| match state {
            LiveState::Running => SagaState::Running,
            LiveState::Compensating => SagaState::Compensating,
            LiveState::NeedsAttention => SagaState::NeedsAttention,
        });
        let (plan, plan_version) = self.plan.clone().unwrap_or_default();
        let mut filter = json!({
            "plan": plan,
            "planVersion": plan_version,
            "stuck": self.stuck.clone().unwrap_or_default(),
            "step": self.step.clone().unwrap_or_default(),
            "participant": self.participant.clone().unwrap_or_default(),
            "held": self.held,
            "businessKeyPrefix": self.key.clone().unwrap_or_default(),
        });
        if let Some(state) = state {
            filter["state"] = json!(format!("SAGA_STATE_{}", state.word()));
        }
        if let Some(seconds) = self.older_than {
            filter["olderThan"] = json!(format!("{seconds}s"));
        }
        let mut request = json!({
            "filter": filter,
            "reason": self.reason,
            "rate": self.rate,
            "movedToo": self.moved_too,
        });
        let verb = match self.verb {
            BulkVerb::Pause => "pause",
            BulkVerb::Resume => "resume",
            BulkVerb::Retry => "retry",
            BulkVerb::Cancel => "cancel",
            BulkVerb::ForceCompensate => "forceCompensate",
            BulkVerb::Abandon => "abandon",
            BulkVerb::Migrate => {
                request["migrate"] = json!({"toVersion": self.to});
                return request;
            }
        };
        request[verb] = json!({});
        request
    }
}

/// What is asked about bulks.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Bulks {
    #[command(subcommand)]
    pub(crate) command: Option<BulksCommand>,
    /// How many at the most
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BulksCommand {
    /// Show one: how far it is, and what was left alone
    Show(BulkAt),
    /// Run one that was prepared, or go on with one that was stopped
    Run(BulkAt),
    /// Stop one; what it has done stays done
    Stop(BulkAt),
}

#[derive(Debug, Args)]
pub(crate) struct BulkAt {
    /// Id of the bulk
    pub(crate) bulk: String,
    #[command(flatten)]
    pub(crate) at: At,
}

/// What can be done with a saga.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Send nothing new until it is resumed; answers still count
    #[command(after_help = EXAMPLE_PAUSE)]
    Pause(Act),
    /// End the pause; deadlines move by its length
    #[command(after_help = "Example:\n  palinode saga resume ID --reason 'the carrier is back'")]
    Resume(Act),
    /// Try everything again now that waits or is stuck, with a new budget
    #[command(after_help = "Example:\n  palinode saga retry ID --reason 'the bank is back'")]
    Retry(Act),
    /// Go back, if the plan lets its owner say so; while the pivot is out it is asked first
    #[command(after_help = "Example:\n  palinode saga cancel ID --reason 'asked by the customer'")]
    Cancel(Act),
    /// Go back, whatever the plan says; what is under way counts as unknown at once
    #[command(
        after_help = "Example:\n  palinode saga force-compensate ID --reason fraud --preview"
    )]
    ForceCompensate(Act),
    /// Go on without a step that nobody needs
    #[command(after_help = "Example:\n  palinode saga skip ID send-mail --reason 'no address'")]
    Skip(Skip),
    /// Say what happened to a step; its participant is asked first, and its word is taken over this
    #[command(after_help = EXAMPLE_RESOLVE)]
    Resolve(Resolve),
    /// Live with what cannot be taken back; the rest is taken back
    #[command(
        after_help = "Example:\n  palinode saga accept-residue ID charge-payment --version 9 --reason 'paid by hand'"
    )]
    AcceptResidue(AcceptResidue),
    /// Go on under another version of its plan, once no attempt is out
    #[command(
        after_help = "Example:\n  palinode saga migrate ID --to 2 --reason 'version 1 is retired' --preview"
    )]
    Migrate(Migrate),
    /// Close the case as it is; what is left stays listed
    #[command(after_help = "Example:\n  palinode saga abandon ID --version 9 --reason 'test data'")]
    Abandon(Act),
}

const EXAMPLE_PAUSE: &str = "Example:
  palinode saga pause 0197a1c2-7b1e-7c3a-9d2f-3f5b0c9e1a42 --reason 'the carrier is down'";
const EXAMPLE_RESOLVE: &str = "Examples:
  palinode saga resolve ID charge-payment undone --reason 'refunded at the bank'
  palinode saga resolve ID arrange-shipping done --output '{\"shipmentId\": \"s-1\"}' --reason 'sent by hand'";

/// Who acts on which saga, and why.
#[derive(Debug, Args)]
pub(crate) struct Act {
    /// Id of the saga
    pub(crate) saga: String,
    /// Why; it stands in the history
    #[arg(long, value_name = "WORDS")]
    pub(crate) reason: String,
    /// The version that you looked at: if the saga has moved on since, nothing happens
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) version: Option<i64>,
    /// Only show what would happen
    #[arg(long)]
    pub(crate) preview: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Debug, Args)]
pub(crate) struct Skip {
    #[command(flatten)]
    pub(crate) act: Act,
    /// The step
    pub(crate) step: String,
}

#[derive(Debug, Args)]
pub(crate) struct Migrate {
    #[command(flatten)]
    pub(crate) act: Act,
    /// The version
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(i32).range(1..))]
    pub(crate) to: i32,
}

#[derive(Debug, Args)]
pub(crate) struct Resolve {
    #[command(flatten)]
    pub(crate) act: Act,
    /// The step
    pub(crate) step: String,
    /// What happened to it
    #[arg(value_enum)]
    pub(crate) claim: Claim,
    /// What it would have answered, as JSON; where a later step needs it
    #[arg(
        long,
        value_name = "JSON",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) output: String,
    /// Do not ask the participant, because it cannot be asked
    #[arg(long)]
    pub(crate) unreachable: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AcceptResidue {
    #[command(flatten)]
    pub(crate) act: Act,
    /// The steps whose effect stays
    #[arg(required = true)]
    pub(crate) steps: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Claim {
    /// Its action happened
    Done,
    /// Its action did not happen (of a pivot)
    NotDone,
    /// Its effect was taken back
    Undone,
}

impl Claim {
    fn word(self) -> &'static str {
        match self {
            Self::Done => "CLAIM_DONE",
            Self::NotDone => "CLAIM_NOT_DONE",
            Self::Undone => "CLAIM_UNDONE",
        }
    }
}

impl Verb {
    /// Who acts, the verb's name in the contract, and what belongs to it.
    pub(crate) fn parts(&self) -> (&Act, &'static str, Json) {
        match self {
            Self::Pause(act) => (act, "pause", json!({})),
            Self::Resume(act) => (act, "resume", json!({})),
            Self::Retry(act) => (act, "retry", json!({})),
            Self::Cancel(act) => (act, "cancel", json!({})),
            Self::ForceCompensate(act) => (act, "forceCompensate", json!({})),
            Self::Skip(skip) => (&skip.act, "skip", json!({"step": skip.step})),
            Self::Resolve(resolve) => (
                &resolve.act,
                "resolve",
                json!({
                    "step": resolve.step,
                    "claim": resolve.claim.word(),
                    "unreachable": resolve.unreachable,
                    "outputJson": resolve.output,
                }),
            ),
            Self::AcceptResidue(accept) => {
                (&accept.act, "acceptResidue", json!({"steps": accept.steps}))
            }
            Self::Abandon(act) => (act, "abandon", json!({})),
            Self::Migrate(migrate) => (&migrate.act, "migrate", json!({"toVersion": migrate.to})),
        }
    }
}

/// Where to ask, as whom, and how to answer.
#[derive(Debug, Args)]
pub(crate) struct At {
    /// The gateway
    #[arg(
        long,
        env = "PALINODE_SERVER",
        value_name = "URL",
        default_value = "http://127.0.0.1:8080"
    )]
    pub(crate) server: String,
    /// An access token [default: that of the session which `palinode sign-in` has opened]
    #[arg(
        long,
        env = "PALINODE_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub(crate) token: Option<String>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SagaState {
    Running,
    Compensating,
    Completed,
    Compensated,
    NeedsAttention,
}

impl SagaState {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Compensating => "COMPENSATING",
            Self::Completed => "COMPLETED",
            Self::Compensated => "COMPENSATED",
            Self::NeedsAttention => "NEEDS_ATTENTION",
        }
    }
}
