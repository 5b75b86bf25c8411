//! Orders, placed at a pace on a thread of their own, and what became of their sagas as Kafka
//! tells it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use palinode_messaging::{Kafka, Received, StartAt, Topic, TopicTail};
use palinode_pb::order::v1::PlaceOrderRequest;
use palinode_pb::order::v1::order_service_client::OrderServiceClient;
use palinode_pb::saga::v1::{SagaEnded, SagaOutcome};
use palinode_rpc::Channel;
use prost::{Message, Name};
use tokio::sync::{mpsc, watch};
use tonic::metadata::AsciiMetadataValue;
use uuid::Uuid;

use super::latencies::Latencies;
use super::shop::Shop;
use crate::gateway::Gateway;
use crate::passes::{Passes, Who};
use crate::stack::Stack;

/// Between two looks at what is to be done next.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Sagas that may be under way in an open loop: with more, the system does not keep up.
const UNDER_WAY_MAX: usize = 200_000;
/// Without any end for so long, what is not over counts as unfinished.
const STALL_LIMIT: Duration = Duration::from_secs(60);
/// Calls that went wrong and are told.
const TOLD_MAX: usize = 5;
/// Calls that are made at once in a closed loop: the order service refuses more than it has room for.
const CALLS_MAX: usize = 500;
/// HTTP/2 connections to the order service.
const CHANNELS: usize = 2;

/// When orders are placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Closed loop: so many sagas are under way; the next order is placed when one ends.
    InFlight(u32),
    /// Open loop: so many orders a second, evenly spaced, whatever becomes of them.
    PerSecond(u32),
}

/// How long orders are placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// So long, after the time to warm up; longer where not one has ended by then.
    Time(Duration),
    /// Until so many have ended after the time to warm up.
    Sagas(u64),
}

/// Through which door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Through {
    /// The order service's own gRPC.
    #[default]
    Grpc,
    /// The gateway's REST.
    Rest,
}

/// What is ordered, and how fast.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// When.
    pub pace: Pace,
    /// How long.
    pub length: Length,
    /// Not measured, before.
    pub warm_up: Duration,
    /// Percent of orders that no carrier takes: they fail at the last step, and all is taken back.
    pub failing: u8,
    /// Percent of orders paid by card.
    pub cards: u8,
    /// All orders are over one SKU.
    pub is_hot: bool,
    /// Through which door.
    pub through: Through,
}

/// Where a load is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Which part of it.
    pub phase: Phase,
    /// Sagas that ended since it began.
    pub ended: u64,
    /// Sagas under way.
    pub under_way: usize,
}

/// The parts of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Phase {
    /// Not measured yet.
    #[default]
    WarmUp,
    /// Counts.
    Measured,
    /// No more orders are placed; those that are under way come to their end.
    Draining,
}

/// What became of a load.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// How long was measured.
    pub took: Duration,
    /// Sagas that ended while it was measured.
    pub ended: u64,
    /// From the intended start of a call until the end of its saga was read from Kafka.
    pub latencies: Latencies,
    /// The call alone, also from its intended start.
    pub calls: Latencies,
    /// For each second that was measured: how many ended, and their median and p99 in milliseconds.
    pub by_second: Vec<(u64, f64, f64)>,
    /// All orders that were placed, measured or not.
    pub placed: u64,
    /// Those of them that completed.
    pub completed: u64,
    /// Those of them that were compensated.
    pub compensated: u64,
    /// Calls that were refused: no order was placed by them.
    pub refused: u64,
    /// Ends that Kafka told more than once.
    pub repeats: u64,
    /// What went wrong.
    pub violations: Vec<String>,
}

impl Outcome {
    /// Sagas a second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    pub fn per_s(&self) -> f64 {
        self.ended as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }
}

/// A load that runs.
#[derive(Debug)]
pub struct Running {
    progress: watch::Receiver<Progress>,
    thread: std::thread::JoinHandle<anyhow::Result<Outcome>>,
}

impl Running {
    /// Waits until it has come to `phase`, or has ended; tells `seen` how far it is meanwhile.
    pub async fn until(&mut self, phase: Phase, mut seen: impl FnMut(Progress)) {
        loop {
            let now = *self.progress.borrow_and_update();
            seen(now);
            if now.phase >= phase || self.progress.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// Orders could not be placed, or the system did not keep up.
    pub async fn outcome(self) -> anyhow::Result<Outcome> {
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await?;
        joined.ok().context("the load panicked")?
    }
}

impl Load {
    /// Begins to place orders. It has a thread and a runtime of its own, so that what it uses is
    /// told apart from what the services use.
    ///
    /// # Errors
    /// No thread, or no address of a service.
    pub fn start(self, shop: &Shop, stack: &Stack, kafka: &Kafka) -> anyhow::Result<Running> {
        let order = stack.addresses().iter().find(|(name, _)| *name == "order");
        let (_, order) = order.context("a stack has an order service")?;
        let (order, gateway) = (order.to_string(), stack.url());
        let (shop, kafka) = (shop.clone(), kafka.clone());
        let (progress, watched) = watch::channel(Progress::default());
        let thread = std::thread::Builder::new()
            .name("bench-load".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                runtime.block_on(async {
                    let authority = order.parse()?;
                    let door = match self.through {
                        Through::Grpc => Door::Grpc(
                            (0..CHANNELS)
                                .map(|_| OrderServiceClient::new(palinode_rpc::channel(&authority)))
                                .collect(),
                        ),
                        Through::Rest => {
                            let passes = Arc::clone(&shop.passes);
                            Door::Rest(Box::new(Gateway::at(&gateway)?.with_shared(passes)))
                        }
                    };
                    let topics = [Topic::ORCHESTRATOR_EVENTS];
                    let tail = TopicTail::start(&kafka, &topics, StartAt::End).await?;
                    Runner::new(self, shop, door, progress).run(tail).await
                })
            })?;
        Ok(Running {
            progress: watched,
            thread,
        })
    }
}

#[derive(Debug, Clone)]
enum Door {
    Grpc(Vec<OrderServiceClient<Channel>>),
    Rest(Box<Gateway>),
}

/// What an answer to a call for an order says, whatever else it says.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answered {
    saga_id: Uuid,
}

enum Call {
    Grpc(Box<GrpcCall>),
    Rest(Box<Gateway>, Bytes),
}

struct GrpcCall {
    client: OrderServiceClient<Channel>,
    order: PlaceOrderRequest,
    passes: Arc<Passes>,
    who: Who,
}

/// An order that is on its way to the service.
struct Placing {
    began: Instant,
    number: u64,
}

async fn call(placing: Placing, key: String, call: Call) -> (Placing, anyhow::Result<Uuid>) {
    let answer = async {
        match call {
            Call::Grpc(mut call) => {
                let pass = call.passes.of(&call.who).await?;
                let mut request = tonic::Request::new(call.order);
                let key = AsciiMetadataValue::try_from(key)?;
                request.metadata_mut().insert("idempotency-key", key);
                let token = AsciiMetadataValue::try_from(pass.header.as_bytes())?;
                request.metadata_mut().insert("authorization", token);
                let answer = call.client.place_order(request).await?.into_inner();
                let order = answer.order.context("an answer without an order")?;
                Ok(order.saga_id.parse()?)
            }
            Call::Rest(gateway, body) => {
                let key = Some(key.as_str());
                let answer = gateway
                    .send(http::Method::POST, "/v1/orders", key, body)
                    .await?;
                if !answer.status.is_success() {
                    answer.success()?;
                }
                Ok(serde_json::from_slice::<Answered>(&answer.body)?.saga_id)
            }
        }
    };
    let answer = answer.await;
    (placing, answer)
}

struct Runner {
    load: Load,
    shop: Shop,
    door: Door,
    progress: watch::Sender<Progress>,
    /// Makes keys of this load differ from those of any other.
    run: Uuid,
    began: Instant,
    phase: Phase,
    measured_since: Instant,
    next: u64,
    under_way: HashMap<Uuid, Placing>,
    /// Ended before the answer to the call was here.
    early: HashMap<Uuid, (SagaOutcome, Instant)>,
    over: HashSet<Uuid>,
    calling: usize,
    last_end: Instant,
    second: Latencies,
    second_began: Instant,
    outcome: Outcome,
}

impl Runner {
    fn new(load: Load, shop: Shop, door: Door, progress: watch::Sender<Progress>) -> Self {
        let now = Instant::now();
        Self {
            load,
            shop,
            door,
            progress,
            run: Uuid::from_u128(rand::random()),
            began: now,
            phase: Phase::WarmUp,
            measured_since: now,
            next: 0,
            under_way: HashMap::new(),
            early: HashMap::new(),
            over: HashSet::new(),
            calling: 0,
            last_end: now,
            second: Latencies::new(),
            second_began: now,
            outcome: Outcome::default(),
        }
    }

    async fn run(mut self, mut tail: TopicTail) -> anyhow::Result<Outcome> {
        let mut calls = FuturesUnordered::new();
        let (mut due, pacer) = match self.load.pace {
            Pace::InFlight(_) => (None, None),
            Pace::PerSecond(rate) => {
                let (due, pacer) = pace(rate)?;
                (Some(due), Some(pacer))
            }
        };
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        (self.began, self.last_end) = (Instant::now(), Instant::now());
        while !(self.phase == Phase::Draining && self.is_drained()) {
            if let Pace::InFlight(most) = self.load.pace {
                while self.phase < Phase::Draining
                    && self.in_flight() < most as usize
                    && self.calling < CALLS_MAX
                {
                    calls.push(self.place(Instant::now()));
                }
            }
            tokio::select! {
                _ = look.tick() => self.look()?,
                Some((placing, answer)) = calls.next(), if !calls.is_empty() => {
                    self.answered(placing, answer)?;
                }
                record = tail.recv() => {
                    self.read(&record.context("Kafka is not read any more")?)?;
                }
                Some(intended) = next_due(&mut due), if self.phase < Phase::Draining => {
                    calls.push(self.place(intended));
                }
            }
        }
        drop(due);
        if let Some(pacer) = pacer {
            pacer.join().ok().context("the pacer panicked")?;
        }
        self.close();
        Ok(self.outcome)
    }

    fn in_flight(&self) -> usize {
        self.under_way.len() + self.calling
    }

    fn is_drained(&self) -> bool {
        self.in_flight() == 0 || self.last_end.elapsed() > STALL_LIMIT
    }

    fn place(
        &mut self,
        intended: Instant,
    ) -> impl Future<Output = (Placing, anyhow::Result<Uuid>)> + use<> {
        let number = self.next;
        self.next += 1;
        self.calling += 1;
        let (user, order) = self.shop.order(number, &self.load);
        let ready = match &self.door {
            Door::Grpc(clients) => {
                let client = &clients[usize::try_from(number).unwrap_or(0) % clients.len()];
                Call::Grpc(Box::new(GrpcCall {
                    client: client.clone(),
                    order,
                    passes: Arc::clone(&self.shop.passes),
                    who: Who::customer(user),
                }))
            }
            Door::Rest(gateway) => Call::Rest(Box::new(gateway.user(user)), Shop::json(&order)),
        };
        let placing = Placing {
            began: intended,
            number,
        };
        call(placing, format!("{}-{number}", self.run.simple()), ready)
    }

    fn answered(&mut self, placing: Placing, answer: anyhow::Result<Uuid>) -> anyhow::Result<()> {
        self.calling -= 1;
        let saga = match answer {
            Ok(saga) => saga,
            Err(error) => {
                self.outcome.refused += 1;
                if self.outcome.violations.len() < TOLD_MAX {
                    let words = format!("order {} was not placed: {error:#}", placing.number);
                    self.outcome.violations.push(words);
                }
                // nothing at all works
                ensure!(self.outcome.placed > 0 || self.outcome.refused < 100, error);
                return Ok(());
            }
        };
        self.outcome.placed += 1;
        if self.phase == Phase::Measured {
            self.outcome.calls.record(placing.began.elapsed());
        }
        match self.early.remove(&saga) {
            Some((outcome, at)) => self.ended(saga, &placing, outcome, at),
            None => drop(self.under_way.insert(saga, placing)),
        }
        Ok(())
    }

    fn read(&mut self, record: &Received) -> anyhow::Result<()> {
        let at = Instant::now();
        if record.headers.text("ce_type") != Some(&*SagaEnded::full_name()) {
            return Ok(());
        }
        let event = SagaEnded::decode(&*record.body)?;
        let saga: Uuid = event.saga_id.parse()?;
        let outcome = event.outcome();
        if self.over.contains(&saga) || self.early.contains_key(&saga) {
            self.outcome.repeats += 1;
            return Ok(());
        }
        match self.under_way.remove(&saga) {
            Some(placing) => self.ended(saga, &placing, outcome, at),
            None => drop(self.early.insert(saga, (outcome, at))),
        }
        Ok(())
    }

    fn ended(&mut self, saga: Uuid, placing: &Placing, outcome: SagaOutcome, at: Instant) {
        self.over.insert(saga);
        self.last_end = at;
        let expected = if Shop::fails(placing.number, &self.load) {
            SagaOutcome::Compensated
        } else {
            SagaOutcome::Completed
        };
        match outcome {
            SagaOutcome::Completed => self.outcome.completed += 1,
            SagaOutcome::Compensated => self.outcome.compensated += 1,
            SagaOutcome::NeedsAttention | SagaOutcome::Unspecified => {}
        }
        if outcome != expected && self.outcome.violations.len() < TOLD_MAX {
            let words = format!(
                "saga {saga} of order {} ended as {}, not as {}",
                placing.number,
                outcome.as_str_name(),
                expected.as_str_name()
            );
            self.outcome.violations.push(words);
        }
        if self.phase == Phase::Measured {
            let took = at.saturating_duration_since(placing.began);
            self.outcome.ended += 1;
            self.outcome.latencies.record(took);
            self.second.record(took);
        }
    }

    /// Ends and begins phases and seconds.
    fn look(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        if self.phase == Phase::Measured && now - self.second_began >= Duration::from_secs(1) {
            self.close_second(now);
        }
        match self.phase {
            Phase::WarmUp if now - self.began >= self.load.warm_up => {
                self.phase = Phase::Measured;
                (self.measured_since, self.second_began) = (now, now);
            }
            Phase::Measured => {
                let is_over = match self.load.length {
                    // however slow it is, there is something to tell
                    Length::Time(time) => {
                        let is_told = self.outcome.ended > 0 && self.outcome.calls.count() > 0;
                        is_told && now - self.measured_since >= time
                    }
                    Length::Sagas(sagas) => self.outcome.ended >= sagas,
                };
                if is_over {
                    self.phase = Phase::Draining;
                    self.outcome.took = now - self.measured_since;
                }
            }
            Phase::WarmUp | Phase::Draining => {}
        }
        self.progress.send_replace(Progress {
            phase: self.phase,
            ended: self.outcome.completed + self.outcome.compensated,
            under_way: self.in_flight(),
        });
        if self.in_flight() > UNDER_WAY_MAX {
            bail!("{UNDER_WAY_MAX} sagas are under way: the rate is above what is possible here");
        }
        if self.phase < Phase::Draining && self.last_end.elapsed() > STALL_LIMIT {
            bail!("no saga has ended for {} s", STALL_LIMIT.as_secs());
        }
        Ok(())
    }

    fn close_second(&mut self, now: Instant) {
        let ended = self.second.count();
        let second = (ended, self.second.ms(50.0), self.second.ms(99.0));
        self.outcome.by_second.push(second);
        self.second.clear();
        self.second_began = now;
    }

    fn close(&mut self) {
        let mut left: Vec<_> = self.under_way.keys().collect();
        left.sort_unstable();
        if let Some(saga) = left.first() {
            let words = format!("{} sagas have not ended, such as {saga}", left.len());
            self.outcome.violations.push(words);
        }
        if self.outcome.refused > 0 {
            let words = format!("{} orders were not placed", self.outcome.refused);
            self.outcome.violations.push(words);
        }
    }
}

async fn next_due(due: &mut Option<mpsc::Receiver<Instant>>) -> Option<Instant> {
    match due {
        Some(due) => due.recv().await,
        None => None,
    }
}

type Pacer = (mpsc::Receiver<Instant>, std::thread::JoinHandle<()>);

/// Tells when orders are due, to a fraction of what the runtime's timers can: to a millisecond.
fn pace(rate: u32) -> anyhow::Result<Pacer> {
    let gap = Duration::from_secs(1) / rate.max(1);
    let (sender, due) = mpsc::channel(UNDER_WAY_MAX);
    let pacer = std::thread::Builder::new()
        .name("bench-pacer".to_owned())
        .spawn(move || {
            let mut next = Instant::now();
            loop {
                next += gap;
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
                match sender.try_send(next) {
                    Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => {}
                    Err(mpsc::error::TrySendError::Closed(_)) => return,
                }
            }
        })?;
    Ok((due, pacer))
}
