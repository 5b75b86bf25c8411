//! Who may name whom. A new edge or a new seam is a new line here, for a reviewer to see.

/// Which crates of ours each crate may name, by folder below `internal/`. Each may name the
/// [`KERNEL`] besides, unless it is in [`ALONE`].
pub(crate) const PLATFORM: [(&str, &[&str]); 11] = [
    ("auth", &["pb"]),
    ("db", &["telemetry"]),
    ("messaging", &["telemetry"]),
    ("outbox", &["db", "messaging", "telemetry"]),
    (
        "participant",
        &["db", "messaging", "outbox", "pb", "telemetry"],
    ),
    ("pb", &[]),
    ("relay", &["db", "messaging", "outbox", "telemetry"]),
    ("rpc", &["auth", "pb", "telemetry"]),
    // The one harness: it hosts loops and relays, and keeps their health.
    (
        "service",
        &[
            "auth",
            "db",
            "messaging",
            "outbox",
            "pb",
            "relay",
            "rpc",
            "telemetry",
        ],
    ),
    ("telemetry", &[]),
    ("transcode", &[]),
];

/// Pure crates, at the bottom.
pub(crate) const KERNEL: [(&str, &[&str]); 3] = [
    ("explore", &["saga"]),
    ("saga", &["values"]),
    ("values", &[]),
];

/// These name no crate of ours, not even the kernel's.
pub(crate) const ALONE: [&str; 2] = ["pb", "transcode"];

/// They may be named in `[dev-dependencies]` and by [`TESTS_USERS`] only.
pub(crate) const TESTS: [&str; 2] = ["lab", "testkit"];

/// They may name every crate.
pub(crate) const TESTS_USERS: [&str; 2] = ["lab", "palinode"];

/// A service that another one's tests run for real, over loopback.
pub(crate) const TEST_PEERS: [(&str, &str); 2] =
    [("payment", "cardprocessor"), ("payment", "identity")];

/// The libraries that the kernel may use: none that waits, stores, sends or reads a clock by itself.
pub(crate) const KERNEL_LIBRARIES: [&str; 7] = [
    "chrono",
    // Only for the names of the message types that plans speak of.
    "prost",
    "serde",
    "serde_json",
    "sha2",
    "thiserror",
    "uuid",
];

/// A library that is named in few places.
pub(crate) struct Seam {
    pub(crate) library: &'static str,
    /// Crates that may name it anywhere.
    pub(crate) crates: &'static [&'static str],
    /// Rooms of a service that may: `src/<room>.rs` and everything below `src/<room>/`.
    pub(crate) rooms: &'static [&'static str],
}

pub(crate) const SEAMS: [Seam; 5] = [
    Seam {
        library: "sqlx",
        crates: &["db", "outbox", "participant", "relay"],
        rooms: &["store"],
    },
    // The in-process broker is rdkafka's too.
    Seam {
        library: "rdkafka",
        crates: &["messaging"],
        rooms: &[],
    },
    Seam {
        library: "tonic",
        crates: &["pb", "rpc", "service", "telemetry", "transcode"],
        rooms: &["clients", "rpc"],
    },
    Seam {
        library: "axum",
        crates: &["gateway", "service", "transcode"],
        rooms: &[],
    },
    // What stops a start is for people to read, not for code to match on.
    Seam {
        library: "anyhow",
        crates: &["service"],
        rooms: &["wiring"],
    },
];

/// No seam holds for these: launchers, stacks and the tool sit on top of everything.
pub(crate) const NO_SEAMS: [&str; 3] = ["lab", "palinode", "testkit"];

/// The longest file that still reads in one go. Units: lines.
pub(crate) const LINES_MAX: usize = 1000;
