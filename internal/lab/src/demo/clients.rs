use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use serde_json::Value as Json;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use uuid::Uuid;

use super::workload::{Planned, Workload};
use crate::gateway::{Answer, Gateway};

/// Until then a call that found nobody is made again, with the same key.
const RETRY_LIMIT: Duration = Duration::from_secs(120);
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(50);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(1);

/// What all clients share.
#[derive(Debug)]
pub(crate) struct Crowd {
    pub(crate) gateway: Gateway,
    pub(crate) workload: Workload,
    pub(crate) orders: u32,
    /// A permit for each order that may be placed by now.
    pub(crate) gate: Semaphore,
    /// Orders that were placed and are not known to be decided: no more are placed above a limit.
    pub(crate) open: watch::Sender<u32>,
    pub(crate) open_max: u32,
    next: AtomicU32,
    placed: watch::Sender<u32>,
    ids: Mutex<Vec<Uuid>>,
    complaints: Mutex<Vec<String>>,
}

impl Crowd {
    pub(crate) fn new(gateway: Gateway, workload: Workload, orders: u32, open_max: u32) -> Self {
        Self {
            gateway,
            workload,
            orders,
            gate: Semaphore::new(0),
            open: watch::Sender::new(0),
            open_max,
            next: AtomicU32::new(0),
            placed: watch::Sender::new(0),
            ids: Mutex::default(),
            complaints: Mutex::default(),
        }
    }

    /// Orders that were placed, live.
    pub(crate) fn placed(&self) -> watch::Receiver<u32> {
        self.placed.subscribe()
    }

    /// The ids of the orders that were placed.
    pub(crate) fn ids(&self) -> Vec<Uuid> {
        self.ids
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What clients saw and should not have seen.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let complaints = self
            .complaints
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        complaints.clone()
    }

    /// One client: places orders until there are no more.
    ///
    /// # Errors
    /// An order could not be placed within the limit, or was refused.
    pub(crate) async fn client(&self) -> anyhow::Result<()> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.orders {
                return Ok(());
            }
            self.gate.acquire().await?.forget();
            let mut open = self.open.subscribe();
            open.wait_for(|open| *open < self.open_max).await?;
            self.open.send_modify(|open| *open += 1);
            let planned = self.workload.order(number);
            let id = self
                .place(&planned)
                .await
                .with_context(|| format!("order {number} ({:?}) is not placed", planned.fate))?;
            if planned.repeated {
                let again = self.place(&planned).await?;
                if again != id {
                    self.complain(format!("the key {} gave {id} and {again}", planned.key));
                }
            }
            self.ids
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(id);
            self.placed.send_modify(|placed| *placed += 1);
        }
    }

    async fn place(&self, planned: &Planned) -> anyhow::Result<Uuid> {
        let answer = again_until(RETRY_LIMIT, async || {
            let key = Some(planned.key.as_str());
            self.gateway.order(&planned.body, key).await
        })
        .await?;
        id_of(&answer.success()?)
    }

    fn complain(&self, words: String) {
        let mut complaints = self
            .complaints
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        complaints.push(words);
    }
}

fn id_of(order: &Json) -> anyhow::Result<Uuid> {
    let id = order["orderId"]
        .as_str()
        .context("the answer is no order")?;
    Ok(id.parse()?)
}

/// Makes a call again as long as the answer says that this may help.
pub(crate) async fn again_until(
    limit: Duration,
    call: impl AsyncFn() -> anyhow::Result<Answer>,
) -> anyhow::Result<Answer> {
    let until = Instant::now() + limit;
    let mut pause = RETRY_PAUSE_MIN;
    loop {
        let answer = call().await;
        let may_help = match &answer {
            Ok(answer) => answer.status.is_server_error() || answer.status.as_u16() == 429,
            Err(_no_answer) => true,
        };
        if !may_help || Instant::now() > until {
            return answer;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_PAUSE_MAX);
    }
}
