//! One hand: it takes batches of sagas through every service, a connection for each.
#![expect(
    clippy::disallowed_methods,
    reason = "runs the statements of every service, from the files of the services"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, ensure};
use palinode_db::{Area, Db, Options};
use palinode_values::{
    Clock, LedgerEntryId, OrderId, PaymentId, ReservationId, SagaId, ShipmentId, Timestamp,
};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::types::Uuid;
use sqlx::{Connection as _, Postgres, Row as _};

use super::sample::{Record, Sample, Stage};
use super::statements as sql;
use crate::prepare::database_of;

/// Rows of a lane that a relay reads at once.
const PAGE_ROWS: i64 = 1_000;
const TIMER_LANES: i16 = 16;
/// Cents; a wallet of the demo pays a lot of them.
const TOTAL: i64 = 1;

/// What was asked of PostgreSQL.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) statements: u64,
    pub(super) commits: u64,
}

/// The connection of a service's loop, set up as the service's own are.
#[derive(Debug)]
struct Loop {
    area: Area,
    connection: PoolConnection<Postgres>,
    counts: Counts,
}

type Statement<'q> = Query<'q, Postgres, PgArguments>;

impl Loop {
    async fn open(server: &str, area: Area) -> anyhow::Result<Self> {
        let options = Options {
            url: database_of(server, area),
            service: "floor".to_owned(),
            connections_max: 1,
        };
        let db = Db::connect(&options).await?;
        Ok(Self {
            area,
            connection: db.pool().acquire().await?,
            counts: Counts::default(),
        })
    }

    async fn begin(&mut self) -> anyhow::Result<()> {
        sqlx::raw_sql(palinode_db::BEGIN)
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn commit(&mut self) -> anyhow::Result<()> {
        sqlx::raw_sql("COMMIT")
            .execute(&mut *self.connection)
            .await?;
        self.counts.commits += 1;
        Ok(())
    }

    /// Runs a statement that finds, or writes, exactly so many rows: if the product does something
    /// else by now, it does not.
    async fn run(&mut self, what: &str, query: Statement<'_>, rows: usize) -> anyhow::Result<()> {
        let area = self.area.name();
        self.counts.statements += 1;
        let done = query.execute(&mut *self.connection).await;
        let done = done.with_context(|| format!("{what} of {area}"))?;
        let done = done.rows_affected();
        ensure!(
            done == rows as u64,
            "{what} of {area}: {done} rows, not {rows}; the floor does not fit the product"
        );
        Ok(())
    }

    /// The same, of a statement that tells in columns of one row how many rows it was about.
    async fn tell(
        &mut self,
        what: &str,
        query: Statement<'_>,
        rows: &[(&str, usize)],
    ) -> anyhow::Result<()> {
        let told = self.fetch(what, query).await?;
        let told = told
            .first()
            .with_context(|| format!("{what} tells nothing"))?;
        for (column, rows) in rows {
            let done: i64 = told.try_get(*column)?;
            ensure!(
                done == *rows as i64,
                "{what} of {}: {done} rows, not {rows}; the floor does not fit the product",
                self.area.name()
            );
        }
        Ok(())
    }

    async fn fetch(&mut self, what: &str, query: Statement<'_>) -> anyhow::Result<Vec<PgRow>> {
        self.counts.statements += 1;
        let rows = query.fetch_all(&mut *self.connection).await;
        rows.with_context(|| format!("{what} of {}", self.area.name()))
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Hand {
    sample: Arc<Sample>,
    clock: Clock,
    /// Lanes of the outboxes that are this hand's alone, as those of a relay are.
    lanes: Vec<i16>,
    skus: Vec<String>,
    users: Vec<String>,
    order: Loop,
    saga: Loop,
    inventory: Loop,
    payment: Loop,
    shipping: Loop,
}

/// Sagas on their way together.
struct Batch {
    sagas: Vec<Uuid>,
    orders: Vec<Uuid>,
    reservations: Vec<Uuid>,
    payments: Vec<Uuid>,
    shipments: Vec<Uuid>,
    skus: Vec<String>,
    users: Vec<String>,
    wake_at: Timestamp,
}

impl Batch {
    fn len(&self) -> usize {
        self.sagas.len()
    }
}

impl Hand {
    pub(super) async fn open(
        server: &str,
        sample: Arc<Sample>,
        lanes: Vec<i16>,
        skus: Vec<String>,
        users: Vec<String>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            sample,
            clock: Clock::system(),
            lanes,
            skus,
            users,
            order: Loop::open(server, Area::Order).await?,
            saga: Loop::open(server, Area::Saga).await?,
            inventory: Loop::open(server, Area::Inventory).await?,
            payment: Loop::open(server, Area::Payment).await?,
            shipping: Loop::open(server, Area::Shipping).await?,
        })
    }

    pub(super) async fn close(self) -> anyhow::Result<()> {
        for one in [
            self.order,
            self.saga,
            self.inventory,
            self.payment,
            self.shipping,
        ] {
            one.connection.detach().close().await?;
        }
        Ok(())
    }

    pub(super) fn counts(&self) -> Counts {
        let all = [
            &self.order,
            &self.saga,
            &self.inventory,
            &self.payment,
            &self.shipping,
        ];
        all.iter().fold(Counts::default(), |sum, one| Counts {
            statements: sum.statements + one.counts.statements,
            commits: sum.commits + one.counts.commits,
        })
    }

    /// Takes `count` new sagas from their orders to their ends.
    pub(super) async fn batch(&mut self, count: usize) -> anyhow::Result<()> {
        let clock = &self.clock;
        let ids = |draw: fn(&Clock) -> Uuid| (0..count).map(|_| draw(clock)).collect();
        let turn = |of: &[String]| of.iter().cycle().take(count).cloned().collect();
        let batch = Batch {
            sagas: ids(|clock| SagaId::new(clock).0),
            orders: ids(|clock| OrderId::new(clock).0),
            reservations: ids(|clock| ReservationId::new(clock).0),
            payments: ids(|clock| PaymentId::new(clock).0),
            shipments: ids(|clock| ShipmentId::new(clock).0),
            skus: turn(&self.skus),
            users: turn(&self.users),
            wake_at: clock.now() + chrono::TimeDelta::seconds(5),
        };
        let sample = Arc::clone(&self.sample);
        let quotes = sample
            .results
            .contains_key(&("shipping", "quote-shipping".to_owned()));
        let mut stages = sample.stages.iter();
        let mut stage = || stages.next().context("the sample saga ends early");

        self.place(&batch).await?;
        self.start(&batch, stage()?).await?;
        self.reserve(&batch).await?;
        let mut before = &sample.stages[0];
        for step in [
            "reserve-stock",
            "quote-shipping",
            "charge-payment",
            "arrange-shipping",
        ] {
            match step {
                "quote-shipping" if !quotes => continue,
                "quote-shipping" => self.quote(&batch).await?,
                "charge-payment" => self.charge(&batch).await?,
                "arrange-shipping" => self.arrange(&batch).await?,
                _ => {}
            }
            let stage = stage()?;
            self.go_on(&batch, before, stage).await?;
            before = stage;
        }
        self.commit_stock(&batch).await?;
        self.confirm(&batch).await?;
        self.go_on(&batch, before, stage()?).await?;
        ensure!(
            stage().is_err(),
            "the sample saga has more stages than the floor knows"
        );
        Ok(())
    }

    /// The orders of calls that came together.
    async fn place(&mut self, batch: &Batch) -> anyhow::Result<()> {
        let (sample, one, count) = (Arc::clone(&self.sample), &mut self.order, batch.len());
        let records = records(&sample, "order", 0)?;
        let keys: Vec<String> = batch.orders.iter().map(Uuid::to_string).collect();
        let skus: Vec<&str> = sums(&batch.skus).into_keys().collect();
        let at: Vec<i32> = (1..).take(count).collect();
        one.begin().await?;
        let query = sqlx::query(sql::ORDER_CLAIM)
            .bind(&batch.users)
            .bind(keys)
            .bind(vec![[7_u8; 32].as_slice(); count])
            .bind(&batch.orders)
            .bind(&skus);
        one.run("claim", query, count + skus.len()).await?;
        let query = sqlx::query(sql::ORDER_INSERT)
            .bind(&batch.orders)
            .bind(&batch.users)
            .bind(&batch.sagas)
            .bind(vec![TOTAL; count])
            .bind(vec!["EUR"; count])
            .bind(vec!["Ada"; count])
            .bind(vec!["Hauptstr. 1"; count])
            .bind(vec!["10115"; count])
            .bind(vec!["Berlin"; count])
            .bind(vec!["DE"; count])
            .bind(vec!["wallet"; count])
            .bind(vec![None::<&str>; count])
            .bind(self.clock.now())
            .bind(vec![sample.traceparent.as_deref(); count])
            .bind(&at)
            .bind(&batch.skus)
            .bind(&batch.skus)
            .bind(vec![1_i32; count])
            .bind(vec![TOTAL; count])
            .bind(&at);
        one.run("insert", query, count).await?;
        let query = sqlx::query(sql::OPENED)
            .bind(&batch.sagas)
            .bind("open-order")
            .bind(result(&sample, "order", "open-order")?);
        one.run("opened", query, count).await?;
        append(one, &self.lanes, &batch.sagas, records).await?;
        one.commit().await?;
        relay(one, &self.lanes, count * records.len()).await
    }

    async fn start(&mut self, batch: &Batch, stage: &Stage) -> anyhow::Result<()> {
        let (sample, one, count) = (Arc::clone(&self.sample), &mut self.saga, batch.len());
        let keys: Vec<String> = batch.orders.iter().map(Uuid::to_string).collect();
        let timer_lanes: Vec<i16> = (0..TIMER_LANES).cycle().take(count).collect();
        let (head, none) = (&stage.head, vec![None::<&str>; count]);
        let until = vec![head.wakes.then_some(batch.wake_at); count];
        let owners = batch.sagas.iter();
        let owners = owners.flat_map(|saga| stage.records.iter().map(|_| *saga));
        let query = sqlx::query(sql::INSERT_SAGAS)
            .bind(&batch.sagas)
            .bind(timer_lanes)
            .bind(vec![sample.plan_id; count])
            .bind(vec![sample.plan_name.as_str(); count])
            .bind(keys)
            .bind(vec![head.version; count])
            .bind(vec![head.state.as_str(); count])
            .bind(vec![head.body.as_slice(); count])
            .bind(vec![head.waits_for.as_deref(); count])
            .bind(vec![head.waits_step.as_deref(); count])
            .bind(&until)
            .bind(&until)
            .bind(vec![None::<Timestamp>; count])
            .bind(&none)
            .bind(vec![sample.traceparent.as_deref(); count])
            .bind(&none)
            .bind(&none);
        let query = bind_history(query, batch, stage);
        let query = bind_rows(query, &self.lanes, &batch.sagas, &stage.records)
            .bind(owners.collect::<Vec<_>>())
            .bind(true);
        one.run("insert_sagas", query, 1).await?;
        one.counts.commits += 1;
        relay(one, &self.lanes, count * stage.records.len()).await
    }

    /// The orchestrator hears the answers to sagas that it remembers.
    async fn go_on(&mut self, batch: &Batch, before: &Stage, stage: &Stage) -> anyhow::Result<()> {
        let (one, count, head) = (&mut self.saga, batch.len(), &stage.head);
        let (until, none) = (
            vec![head.wakes.then_some(batch.wake_at); count],
            vec![None::<&str>; count],
        );
        let query = sqlx::query(sql::ADVANCE_SAGAS)
            .bind(&batch.sagas)
            .bind(vec![before.head.version; count])
            .bind(vec![head.version; count])
            .bind(vec![head.state.as_str(); count])
            .bind(vec![head.body.as_slice(); count])
            .bind(vec![head.waits_for.as_deref(); count])
            .bind(vec![head.waits_step.as_deref(); count])
            .bind(&until)
            .bind(&until)
            .bind(vec![true; count])
            .bind(vec![self.sample.plan_id; count])
            .bind(vec![None::<Timestamp>; count])
            .bind(&none)
            .bind(&none);
        let query = bind_history(query, batch, stage);
        let query = bind_rows(query, &self.lanes, &batch.sagas, &stage.records);
        one.run("advance_sagas", query, 1).await?;
        one.counts.commits += 1;
        relay(one, &self.lanes, count * stage.records.len()).await
    }

    async fn reserve(&mut self, batch: &Batch) -> anyhow::Result<()> {
        let (sample, one, count) = (Arc::clone(&self.sample), &mut self.inventory, batch.len());
        let (stock, records) = (sums(&batch.skus), records(&sample, "inventory", 0)?);
        let skus: Vec<&str> = stock.keys().copied().collect();
        let pieces: Vec<i64> = stock.values().copied().collect();
        let zero = vec![0_i64; skus.len()];
        let at: Vec<i32> = (1..).take(count).collect();
        guard(one, batch, "reserve-stock", &sample).await?;
        let query = sqlx::query(sql::INVENTORY_LOCK)
            .bind(&batch.orders)
            .bind(&skus);
        one.run("lock", query, skus.len()).await?;
        let query = sqlx::query(sql::INVENTORY_WRITE)
            .bind(&skus)
            .bind(&zero)
            .bind(&pieces)
            .bind(&zero)
            .bind(&zero)
            .bind(&batch.reservations)
            .bind(&batch.orders)
            .bind(&batch.sagas)
            .bind(vec!["held"; count])
            .bind(&at)
            .bind(&at)
            .bind(&batch.skus)
            .bind(vec![1_i64; count])
            .bind(Vec::<Uuid>::new())
            .bind(Vec::<&str>::new())
            .bind(Vec::<&str>::new());
        let told = [("summed!", skus.len()), ("moved!", 0)];
        one.tell("write", query, &told).await?;
        append(one, &self.lanes, &batch.sagas, records).await?;
        one.commit().await?;
        relay(one, &self.lanes, count * records.len()).await
    }

    async fn commit_stock(&mut self, batch: &Batch) -> anyhow::Result<()> {
        let (sample, one, count) = (Arc::clone(&self.sample), &mut self.inventory, batch.len());
        let (stock, records) = (sums(&batch.skus), records(&sample, "inventory", 1)?);
        let skus: Vec<&str> = stock.keys().copied().collect();
        let pieces: Vec<i64> = stock.values().copied().collect();
        let less: Vec<i64> = pieces.iter().map(|pieces| -pieces).collect();
        guard(one, batch, "commit-stock", &sample).await?;
        let query = sqlx::query(sql::INVENTORY_LOCK)
            .bind(&batch.orders)
            .bind(Vec::<&str>::new());
        one.run("lock", query, count + skus.len()).await?;
        let query = sqlx::query(sql::INVENTORY_WRITE)
            .bind(&skus)
            .bind(&less)
            .bind(&less)
            .bind(&pieces)
            .bind(vec![0_i64; skus.len()])
            .bind(Vec::<Uuid>::new())
            .bind(Vec::<Uuid>::new())
            .bind(Vec::<Uuid>::new())
            .bind(Vec::<&str>::new())
            .bind(Vec::<i32>::new())
            .bind(Vec::<i32>::new())
            .bind(Vec::<&str>::new())
            .bind(Vec::<i64>::new())
            .bind(&batch.reservations)
            .bind(vec!["committed"; count])
            .bind(vec!["held"; count]);
        let told = [("summed!", skus.len()), ("moved!", count)];
        one.tell("write", query, &told).await?;
        append(one, &self.lanes, &batch.sagas, records).await?;
        one.commit().await?;
        relay(one, &self.lanes, count * records.len()).await
    }

    async fn charge(&mut self, batch: &Batch) -> anyhow::Result<()> {
        let (sample, one, count) = (Arc::clone(&self.sample), &mut self.payment, batch.len());
        let records = records(&sample, "payment", 0)?;
        let wallets = sums(&batch.users);
        let users: Vec<&str> = wallets.keys().copied().collect();
        let deltas: Vec<i64> = wallets.values().map(|charges| -charges * TOTAL).collect();
        guard(one, batch, "charge-payment", &sample).await?;
        let query = sqlx::query(sql::PAYMENT_LOCK)
            .bind(&batch.orders)
            .bind(&users);
        one.run("lock", query, users.len()).await?;
        let (none, twice) = (vec![None::<&str>; count], |of: &[Uuid]| -> Vec<Uuid> {
            of.iter().flat_map(|id| [*id; 2]).collect()
        });
        let entries = (0..2 * count).map(|_| LedgerEntryId::new(&self.clock).0);
        let accounts = batch.users.iter();
        let accounts = accounts.flat_map(|user| [format!("wallet:{user}"), "shop".to_owned()]);
        let query = sqlx::query(sql::PAYMENT_WRITE)
            .bind(&users)
            .bind(deltas)
            .bind(&batch.payments)
            .bind(&batch.orders)
            .bind(&batch.sagas)
            .bind(&batch.users)
            .bind(vec!["wallet"; count])
            .bind(vec![TOTAL; count])
            .bind(vec!["EUR"; count])
            .bind(vec!["captured"; count])
            .bind(&none)
            .bind(&none)
            .bind(vec![None::<Uuid>; count])
            .bind(Vec::<Uuid>::new())
            .bind(Vec::<&str>::new())
            .bind(Vec::<&str>::new())
            .bind(Vec::<Option<&str>>::new())
            .bind(Vec::<Option<&str>>::new())
            .bind(entries.collect::<Vec<_>>())
            .bind(twice(&batch.reservations))
            .bind(vec!["charge"; 2 * count])
            .bind(twice(&batch.payments))
            .bind(accounts.collect::<Vec<_>>())
            .bind([-TOTAL, TOTAL].repeat(count))
            .bind(vec!["EUR"; 2 * count])
            .bind(Vec::<i64>::new())
            .bind(Vec::<i64>::new())
            .bind(vec![None::<Uuid>; 2 * count])
            .bind(Vec::<Uuid>::new())
            .bind(Vec::<Uuid>::new())
            .bind(Vec::<i64>::new())
            .bind(Vec::<&str>::new())
            .bind(Vec::<&str>::new())
            .bind(Vec::<&str>::new())
            .bind(Vec::<Uuid>::new())
            .bind(Vec::<Uuid>::new())
            .bind(Vec::<&str>::new())
            .bind(vec![0_i64; count])
            .bind(vec![0_i64; count]);
        let told = [("summed!", users.len()), ("moved!", 0), ("ended!", 0)];
        one.tell("write", query, &told).await?;
        append(one, &self.lanes, &batch.sagas, records).await?;
        one.commit().await?;
        relay(one, &self.lanes, count * records.len()).await
    }

    async fn quote(&mut self, batch: &Batch) -> anyhow::Result<()> {
        let (sample, one) = (Arc::clone(&self.sample), &mut self.shipping);
        let records = records(&sample, "shipping", 0)?;
        guard(one, batch, "quote-shipping", &sample).await?;
        let query = sqlx::query(sql::SHIPPING_READ)
            .bind(["DE"].as_slice())
            .bind(Vec::<Uuid>::new());
        one.run("read", query, 1).await?;
        append(one, &self.lanes, &batch.sagas, records).await?;
        one.commit().await?;
        relay(one, &self.lanes, batch.len() * records.len()).await
    }

    async fn arrange(&mut self, batch: &Batch) -> anyhow::Result<()> {
        let (sample, one, count) = (Arc::clone(&self.sample), &mut self.shipping, batch.len());
        let last = sample.outboxes["shipping"].len() - 1;
        let records = records(&sample, "shipping", last)?;
        guard(one, batch, "arrange-shipping", &sample).await?;
        let at: Vec<i32> = (1..).take(count).collect();
        let query = sqlx::query(sql::SHIPPING_READ)
            .bind(["DE"].as_slice())
            .bind(&batch.orders);
        one.run("read", query, 1).await?;
        let query = sqlx::query(sql::SHIPPING_INSERT)
            .bind(&batch.shipments)
            .bind(&batch.orders)
            .bind(vec!["alice"; count])
            .bind(&batch.sagas)
            .bind(vec!["arranged"; count])
            .bind(vec!["Elbe Kurier"; count])
            .bind(vec!["Ada"; count])
            .bind(vec!["Hauptstr. 1"; count])
            .bind(vec!["10115"; count])
            .bind(vec!["Berlin"; count])
            .bind(vec!["DE"; count])
            .bind(&at)
            .bind(&at)
            .bind(&batch.skus)
            .bind(vec![1_i32; count]);
        one.run("insert", query, count).await?;
        append(one, &self.lanes, &batch.sagas, records).await?;
        one.commit().await?;
        relay(one, &self.lanes, count * records.len()).await
    }

    async fn confirm(&mut self, batch: &Batch) -> anyhow::Result<()> {
        let (sample, one, count) = (Arc::clone(&self.sample), &mut self.order, batch.len());
        let records = records(&sample, "order", 1)?;
        guard(one, batch, "confirm-order", &sample).await?;
        let query = sqlx::query(sql::ORDER_DECIDE)
            .bind(&batch.orders)
            .bind(vec!["confirmed"; count])
            .bind(vec![None::<&str>; count])
            .bind(vec![None::<&str>; count])
            .bind(&batch.payments)
            .bind(&batch.shipments);
        one.run("decide", query, count).await?;
        append(one, &self.lanes, &batch.sagas, records).await?;
        one.commit().await?;
        relay(one, &self.lanes, count * records.len()).await
    }
}

/// The records of a transaction of a service.
fn records<'s>(sample: &'s Sample, service: &str, at: usize) -> anyhow::Result<&'s [Record]> {
    let transactions = sample.outboxes.get(service);
    let records = transactions.and_then(|transactions| transactions.get(at));
    let records = records.with_context(|| format!("{service} wrote less than the floor knows"))?;
    Ok(records)
}

fn result<'s>(sample: &'s Sample, service: &'static str, step: &str) -> anyhow::Result<&'s [u8]> {
    let result = sample.results.get(&(service, step.to_owned()));
    let result = result.with_context(|| format!("{service} has no answer to {step}"))?;
    Ok(result)
}

/// How many of each, in key order.
fn sums(of: &[String]) -> BTreeMap<&str, i64> {
    let mut sums = BTreeMap::new();
    for one in of {
        *sums.entry(one.as_str()).or_default() += 1;
    }
    sums
}

/// A participant takes a batch of commands up, and keeps what it is going to answer.
async fn guard(one: &mut Loop, batch: &Batch, step: &str, sample: &Sample) -> anyhow::Result<()> {
    let count = batch.len();
    let result = result(sample, one.area.name(), step)?;
    one.begin().await?;
    let query = sqlx::query(sql::GUARD_INSERT)
        .bind(&batch.sagas)
        .bind(vec![step; count])
        .bind(vec!["done"; count])
        .bind(vec![[7_u8; 32].as_slice(); count])
        .bind(vec![result; count])
        .bind(vec![None::<Timestamp>; count]);
    one.tell("guard_insert", query, &[("count!", count)]).await
}

/// The history of a stage.
fn bind_history<'q>(query: Statement<'q>, batch: &Batch, stage: &'q Stage) -> Statement<'q> {
    let rows = || {
        let sagas = batch.sagas.iter();
        sagas.flat_map(|saga| stage.history.iter().map(move |told| (*saga, told)))
    };
    query
        .bind(rows().map(|(saga, _)| saga).collect::<Vec<_>>())
        .bind(rows().map(|(_, told)| told.version).collect::<Vec<_>>())
        .bind(rows().map(|(_, told)| told.kind).collect::<Vec<_>>())
        .bind(
            rows()
                .map(|(_, told)| told.body.as_slice())
                .collect::<Vec<_>>(),
        )
        .bind(
            rows()
                .map(|(_, told)| told.payloads.as_deref())
                .collect::<Vec<_>>(),
        )
}

/// Appends the records of each saga to the outbox.
async fn append(
    one: &mut Loop,
    lanes: &[i16],
    sagas: &[Uuid],
    records: &[Record],
) -> anyhow::Result<()> {
    let query = bind_rows(sqlx::query(sql::APPEND), lanes, sagas, records);
    one.run("append", query, sagas.len() * records.len()).await
}

fn bind_rows<'q>(
    query: Statement<'q>,
    lanes: &[i16],
    sagas: &[Uuid],
    records: &'q [Record],
) -> Statement<'q> {
    let rows = || {
        let sagas = sagas.iter().zip(lanes.iter().cycle());
        sagas.flat_map(|saga| records.iter().map(move |record| (saga, record)))
    };
    // an id is as good as another: what an event is about has one of the same size
    let keys = rows().map(|((saga, _), _)| saga.to_string().into_bytes());
    let events = rows().enumerate().map(|(n, ((saga, _), _))| {
        Uuid::from_u128(saga.as_u128() ^ n as u128) // like them, near to each other
    });
    query
        .bind(rows().map(|((_, lane), _)| *lane).collect::<Vec<_>>())
        .bind(rows().map(|(_, record)| record.topic).collect::<Vec<_>>())
        .bind(events.collect::<Vec<_>>())
        .bind(keys.collect::<Vec<_>>())
        .bind(
            rows()
                .map(|(_, record)| record.traceparent.as_deref())
                .collect::<Vec<_>>(),
        )
        .bind(rows().map(|_| None::<String>).collect::<Vec<_>>())
        .bind(rows().map(|_| None::<String>).collect::<Vec<_>>())
        .bind(
            rows()
                .map(|(_, record)| record.headers.as_slice())
                .collect::<Vec<_>>(),
        )
        .bind(
            rows()
                .map(|(_, record)| record.payload.as_slice())
                .collect::<Vec<_>>(),
        )
}

/// What the relay does with these rows: it reads a page of them and deletes what was acknowledged.
async fn relay(one: &mut Loop, lanes: &[i16], rows: usize) -> anyhow::Result<()> {
    let query = sqlx::query(sql::READ_PAGE)
        .bind(lanes)
        .bind(PAGE_ROWS)
        .bind(0_i64);
    let page = one.fetch("read_page", query).await?;
    ensure!(
        page.len() == rows,
        "{} rows in a page, not {rows}",
        page.len()
    );
    let (mut lanes, mut ids) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    for row in &page {
        lanes.push(row.try_get::<i16, _>(0)?);
        ids.push(row.try_get::<i64, _>(1)?);
    }
    let query = sqlx::query(sql::DELETE).bind(lanes).bind(ids);
    one.run("delete_acknowledged", query, rows).await?;
    one.counts.commits += 1;
    Ok(())
}
