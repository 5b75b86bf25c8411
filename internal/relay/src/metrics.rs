//! What a relay says of itself, by name.

use palinode_telemetry::{Histogram, Meter, Metric, Reading};
use tokio::sync::watch;

use crate::relay::DatabaseStatus;

/// Records acknowledged by Kafka since the start, by database.
pub const PUBLISHED: Metric = Metric {
    name: "palinode.outbox.published",
    unit: "{record}",
    words: "Records that Kafka has acknowledged",
};

/// Records parked since the start, by database.
pub const PARKED: Metric = Metric {
    name: "palinode.outbox.parked",
    unit: "{record}",
    words: "Records that were parked, with those behind them",
};

/// Lanes of the relay, by database.
pub const LANES: Metric = Metric {
    name: "palinode.outbox.lanes",
    unit: "{lane}",
    words: "Lanes that this relay has leased; over all relays of a database they are 64",
};

/// Whether the relay works, by database and by what it needs.
pub const UP: Metric = Metric {
    name: "palinode.outbox.up",
    unit: "1",
    words: "1 while the database answers, or Kafka acknowledges, by the label needs",
};

/// From the commit's row to Kafka's acknowledgement, by database.
pub const LAG: Metric = Metric {
    name: "palinode.outbox.lag",
    unit: "s",
    words: "Age of the oldest record of a page when Kafka has acknowledged it",
};

/// Every metric of a relay.
pub const ALL: [Metric; 5] = [PUBLISHED, PARKED, LANES, UP, LAG];

const LAG_BOUNDS_S: [f64; 12] = [
    0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 300.0,
];

/// Tells of the databases at every export, and gives what lags are recorded in.
pub(crate) fn observe(meter: &Meter, status: Vec<watch::Receiver<DatabaseStatus>>) -> Histogram {
    let of = move |read: fn(&DatabaseStatus) -> u64| {
        let status = status.clone();
        move || {
            let readings = status.iter().map(|status| {
                let status = status.borrow();
                Reading {
                    labels: vec![("database", status.name.clone())],
                    value: read(&status),
                }
            });
            readings.collect::<Vec<_>>()
        }
    };
    meter.counter(PUBLISHED, of(|status| status.published));
    meter.counter(PARKED, of(|status| status.parked));
    meter.gauge(LANES, of(|status| status.lanes as u64));
    let (database, broker) = (
        of(|status| status.database.into()),
        of(|status| status.broker.into()),
    );
    meter.gauge(UP, move || {
        let named = |needs: &str, readings: Vec<Reading>| {
            let needs = needs.to_owned();
            readings.into_iter().map(move |mut reading| {
                reading.labels.push(("needs", needs.clone()));
                reading
            })
        };
        let database = named("database", database());
        database.chain(named("kafka", broker())).collect()
    });
    meter.histogram(LAG, &LAG_BOUNDS_S)
}
