use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value as Json, json};

#[derive(Debug, Subcommand)]
#[command(after_help = "Example:
  palinode saga list --state needs-attention")]
pub(crate) enum Saga {
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
    #[command(flatten)]
    Act(Verb),
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
    /// Who; it stands in the history
    #[arg(
        long = "as",
        env = "USER",
        value_name = "NAME",
        default_value = "operator"
    )]
    pub(crate) principal: String,
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
        }
    }
}

/// Where to ask, and how to answer.
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
