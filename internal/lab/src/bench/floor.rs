//! `palinode bench floor`: what this machine does at best, PostgreSQL and Kafka each alone.
//!
//! The same statements as the product's, from the same files; the same records, byte for byte those
//! of an order that was placed a moment before. What the product does not reach of it, it spends
//! itself.

mod hand;
mod kafka;
mod sample;
mod statements;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use palinode_db::Area;
use palinode_order::Product;
use palinode_values::{Currency, Money};
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

use super::{Bar, Common, Length, Load, Pace, Plot, Report, Shop, Site, Through};
use crate::prepare::connect;
use hand::{Counts, Hand};
use sample::Sample;

/// Sizes of batches that are always measured.
const BATCHES: [u32; 4] = [1, 10, 50, 200];
/// Before each measurement.
const WARM_UP: Duration = Duration::from_secs(1);
const SECONDS: u32 = 5;
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Of a hand's own, so that no hand waits for a row of another.
const SKUS: u32 = 100;
const WALLETS: u32 = 100;
const LANES: u32 = 64;
/// Pieces and cents, as much as the product takes at once.
const PIECES: i64 = 1_000_000;
const CENTS: i64 = 99_000_000;

/// Whose orders are copied: those of `bench sagas`.
const LOAD: Load = Load {
    pace: Pace::InFlight(1),
    length: Length::Sagas(1),
    warm_up: Duration::ZERO,
    failing: 0,
    cards: 0,
    is_hot: false,
    through: Through::Rest,
};

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub struct Floor {
    /// Sagas of a transaction, 1 to 500.
    pub batch: u32,
    /// Connections to each database, 1 to 16: batches that are on their way at once.
    pub connections: u32,
}

/// Measures how many sagas this machine can do at best.
///
/// # Errors
/// Something does not start, or the floor does other things than the product by now.
pub async fn floor(common: &Common, options: Floor) -> anyhow::Result<Report> {
    let mut site = Site::open(common).await?;
    let shop = Shop::open(&site.backing.database_url).await?;
    let (user, order) = shop.order(0, &LOAD);
    let sample = Sample::take(&site, user, Shop::json(&order))
        .await
        .context("the sample order")?;
    let sample = Arc::new(sample);
    let mut report = site.report("floor").await?;
    report.settings.put("batch", options.batch);
    report.settings.put("connections", options.connections);
    let length = common.length(SECONDS);
    report.settings.put("seconds_a_point", length.as_secs());

    let mut batches = BATCHES.to_vec();
    batches.extend(Some(options.batch).filter(|batch| !BATCHES.contains(batch)));
    let hands = hands(&site, &sample, options.connections).await?;
    let points = points(&mut site, hands, &batches, length).await?;
    let wanted = points.iter().find(|point| point["batch"] == options.batch);
    let wanted = wanted.context("the wanted batch is measured")?;
    report.figures.put("sagas_per_s", wanted["per_s"].clone());

    let partitions = site.backing.partitions;
    let (kafka, wire) = (site.backing.kafka.clone(), sample.wire.clone());
    let meter = site.meter().await?;
    let wire = kafka::measure(&kafka, partitions, wire, length).await?;
    let usage = site.usage(meter).await?;
    let [client_s, _, broker_s] = usage.cpu_s();
    let seconds = wire.took.as_secs_f64();
    report.figures.put("kafka_per_s", per(wire.sagas, seconds));
    let records = per(wire.records, seconds);
    report.figures.put("kafka_records_per_s", records);
    report.figures.put("records_per_saga", sample.wire.len());
    report
        .figures
        .put("bytes_per_saga", per(wire.bytes, wire.sagas as f64));
    let micros = |seconds: f64| seconds * 1e6 / wire.sagas as f64;
    report.figures.put(
        "kafka_cpu_us_per_saga",
        json!({"client": micros(client_s), "broker": micros(broker_s)}),
    );
    let line = points
        .iter()
        .filter_map(|point| Some((point["batch"].as_f64()?, point["per_s"].as_f64()?)));
    report.plots.push(Plot {
        name: "by-batch",
        title: "sagas a second on PostgreSQL alone, by the size of the batch".to_owned(),
        x: "sagas of a transaction",
        y: "sagas a second",
        lines: vec![("PostgreSQL alone".to_owned(), line.collect())],
    });
    report.figures.put("by_batch", points);
    site.close().await?;
    Ok(report)
}

fn per(count: u64, of: f64) -> f64 {
    count as f64 / of
}

/// What each hand needs for itself, and the hands.
async fn hands(site: &Site, sample: &Arc<Sample>, count: u32) -> anyhow::Result<Vec<Hand>> {
    ensure!(
        (1..=16).contains(&count),
        "1 to 16 connections, not {count}"
    );
    let server = &site.backing.database_url;
    let own = |hand: u32, what: &str, count: u32| -> Vec<String> {
        (0..count)
            .map(|n| format!("floor-{hand}-{what}-{n}"))
            .collect()
    };
    let (mut products, mut stock, mut wallets) = (Vec::new(), Vec::new(), Vec::new());
    let mut hands = Vec::new();
    for hand in 0..count {
        let (skus, users) = (own(hand, "sku", SKUS), own(hand, "user", WALLETS));
        for sku in &skus {
            products.push(Product {
                sku: sku.parse()?,
                name: sku.clone(),
                price: Money::new(1, Currency::EUR),
            });
            stock.push((sku.parse()?, PIECES));
        }
        for user in &users {
            wallets.push((user.parse()?, CENTS));
        }
        let lanes = (hand..LANES).step_by(count as usize);
        let lanes = lanes.map(i16::try_from).collect::<Result<_, _>>()?;
        hands.push(Hand::open(server, Arc::clone(sample), lanes, skus, users).await?);
    }
    let db = connect(server, Area::Order).await?;
    palinode_order::seed(&db, &products).await?;
    db.close().await;
    let db = connect(server, Area::Inventory).await?;
    palinode_inventory::seed(&db, &stock).await?;
    db.close().await;
    let db = connect(server, Area::Payment).await?;
    palinode_payment::seed(&db, &wallets).await?;
    db.close().await;
    Ok(hands)
}

/// What all hands have done.
#[derive(Debug, Default)]
struct Done {
    sagas: AtomicU64,
    statements: AtomicU64,
    commits: AtomicU64,
    stop: AtomicBool,
}

impl Done {
    fn look(&self) -> (u64, Counts) {
        let counts = Counts {
            statements: self.statements.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
        };
        (self.sagas.load(Ordering::Relaxed), counts)
    }
}

async fn points(
    site: &mut Site,
    mut hands: Vec<Hand>,
    batches: &[u32],
    length: Duration,
) -> anyhow::Result<Vec<Json>> {
    let mut points = Vec::new();
    let mut bar = Bar::new("floor", batches.len() as u64);
    for &batch in batches {
        bar.at(points.len() as u64, || format!("batches of {batch}"));
        let done = Arc::new(Done::default());
        let mut working = JoinSet::new();
        for hand in hands {
            working.spawn(work(hand, batch as usize, Arc::clone(&done)));
        }
        let measured = measure(site, &done, length).await;
        done.stop.store(true, Ordering::Relaxed);
        hands = Vec::new();
        while let Some(hand) = working.join_next().await {
            hands.push(hand??);
        }
        let (sagas, counts, usage) = measured?;
        let [client_s, postgres_s, _] = usage.cpu_s();
        let count = sagas as f64;
        points.push(json!({
            "batch": batch,
            "per_s": per(sagas, usage.took.as_secs_f64()),
            "statements_per_saga": per(counts.statements, count),
            "commits_per_saga": per(counts.commits, count),
            "wal_bytes_per_saga": usage.wal_bytes as f64 / count,
            "postgres_us_per_saga": postgres_s * 1e6 / count,
            "client_us_per_saga": client_s * 1e6 / count,
        }));
    }
    for hand in hands {
        hand.close().await?;
    }
    Ok(points)
}

async fn measure(
    site: &mut Site,
    done: &Done,
    length: Duration,
) -> anyhow::Result<(u64, Counts, super::Usage)> {
    tokio::time::sleep(WARM_UP).await;
    let meter = site.meter().await?;
    let (sagas, counts) = done.look();
    tokio::time::sleep(length).await;
    // a large batch may take longer than that, but one that fails stops all
    while done.look().0 == sagas && !done.stop.load(Ordering::Relaxed) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let (sagas_after, counts_after) = done.look();
    let usage = site.usage(meter).await?;
    let counts = Counts {
        statements: counts_after.statements - counts.statements,
        commits: counts_after.commits - counts.commits,
    };
    Ok((sagas_after - sagas, counts, usage))
}

/// A batch after another, until it is told to stop.
async fn work(mut hand: Hand, batch: usize, done: Arc<Done>) -> anyhow::Result<Hand> {
    while !done.stop.load(Ordering::Relaxed) {
        let before = hand.counts();
        if let Err(error) = hand.batch(batch).await {
            done.stop.store(true, Ordering::Relaxed);
            return Err(error);
        }
        let after = hand.counts();
        let add = |to: &AtomicU64, count| to.fetch_add(count, Ordering::Relaxed);
        add(&done.statements, after.statements - before.statements);
        add(&done.commits, after.commits - before.commits);
        add(&done.sagas, batch as u64);
    }
    Ok(hand)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Holds the floor to the statements and the records of the product: each of its statements has
    /// to find, or to write, as many rows as the product's would.
    #[tokio::test(flavor = "multi_thread")]
    async fn the_floor_does_what_the_product_does() {
        let common = Common {
            seconds: Some(1),
            ..Common::default()
        };
        let options = Floor {
            batch: 3,
            connections: 2,
        };
        let report = floor(&common, options).await.unwrap();
        assert!(report.is_good());
        for figure in ["sagas_per_s", "kafka_per_s"] {
            let value = report.figures.get(figure).unwrap();
            assert!(value.as_f64().unwrap() > 0.0, "{figure}");
        }
        let points = report.figures.get("by_batch").unwrap();
        assert_eq!(points.as_array().unwrap().len(), BATCHES.len() + 1);
    }
}
