use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use palinode_db::{Db, Error};
use palinode_messaging::Backoff;
use palinode_outbox::Doorbell;
use palinode_values::Clock;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::app::{Answered, settle_cards};
use crate::clients::{self, Answer, Processor};
use crate::config;
use crate::domain::Source;
use crate::store::intents::{self, Call, Due};

/// Makes the calls that are owed to the card processor, and settles what it answers.
///
/// An intent is leased by one statement, called without any transaction or connection, and settled
/// by another transaction. A crash anywhere leaves the intent: it is due again when its lease
/// ends, and is called again with the same key.
pub(crate) struct CardCalls {
    parts: Parts,
    out: FuturesUnordered<BoxFuture<'static, Called>>,
}

/// What the calls are made with.
pub(crate) struct Parts {
    pub(crate) db: Db,
    pub(crate) processor: Processor,
    pub(crate) clock: Clock,
    /// Rung after each commit that wrote intents.
    pub(crate) bell: Arc<Notify>,
    /// Rings for the outbox.
    pub(crate) doorbell: Doorbell,
    pub(crate) limits: config::CardCalls,
}

struct Called {
    due: Due,
    answer: Result<Answer, Missed>,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
enum Missed {
    #[error(transparent)]
    Failed(#[from] clients::Error),
    #[error("too old to be called again, and the card processor does not know its key")]
    Forgotten,
    #[error("the payment is not one of a card")]
    NoCard,
}

impl CardCalls {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            parts,
            out: FuturesUnordered::new(),
        }
    }

    /// Calls and settles until `stop`; what is out then may still be answered for a moment.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut backoff = Backoff::default();
        while !stop.is_cancelled() {
            match self.step(&stop).await {
                Ok(()) => backoff.reset(),
                Err(error) => {
                    tracing::warn!(%error, "the calls to the card processor have to wait");
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(backoff.next_pause()) => {}
                    }
                }
            }
        }
        let drained = tokio::time::timeout(self.parts.limits.drain_limit, self.drain()).await;
        if !matches!(drained, Ok(Ok(()))) {
            tracing::info!("calls to the card processor are left; they are made again");
        }
    }

    /// Takes what is due as far as there is room, and settles the answers that are there; without
    /// any, waits for the first, for a ring, or for the next poll.
    pub(crate) async fn step(&mut self, stop: &CancellationToken) -> Result<(), Error> {
        self.take().await?;
        let called = self.answered(stop).await;
        self.parts.settle(called).await
    }

    async fn take(&mut self) -> Result<(), Error> {
        let Parts {
            db,
            processor,
            limits,
            ..
        } = &self.parts;
        let free = limits.calls_max.saturating_sub(self.out.len());
        if free == 0 {
            return Ok(());
        }
        for due in intents::take_due(db, free, limits.lease, limits.key_age_max).await? {
            self.out.push(call(processor.clone(), due).boxed());
        }
        Ok(())
    }

    async fn answered(&mut self, stop: &CancellationToken) -> Vec<Called> {
        let first = tokio::select! {
            Some(called) = self.out.next() => called,
            () = self.parts.bell.notified() => return Vec::new(),
            () = tokio::time::sleep(self.parts.limits.poll) => return Vec::new(),
            () = stop.cancelled() => return Vec::new(),
        };
        let mut group = vec![first];
        while let Some(Some(called)) = self.out.next().now_or_never() {
            group.push(called);
        }
        group
    }

    async fn drain(&mut self) -> Result<(), Error> {
        while let Some(called) = self.out.next().await {
            self.parts.settle(vec![called]).await?;
        }
        Ok(())
    }
}

impl Parts {
    async fn settle(&self, group: Vec<Called>) -> Result<(), Error> {
        let mut answered = Vec::new();
        for Called { due, answer } in group {
            match answer {
                Ok(answer) => answered.push(Answered { due, answer }),
                Err(missed) => self.postpone(&due, &missed).await?,
            }
        }
        if answered.is_empty() {
            return Ok(());
        }
        match self.write(&answered).await {
            Err(error) if !error.is_transient() => self.settle_alone(answered, error).await,
            written => written,
        }
    }

    /// One that cannot be settled must not hold up the others.
    async fn settle_alone(&self, group: Vec<Answered>, error: Error) -> Result<(), Error> {
        if let [only] = group.as_slice() {
            let payment = only.due.payment.id;
            tracing::error!(%payment, %error, "an answer of the card processor cannot be settled");
            return Ok(());
        }
        for one in group {
            if let Err(error) = self.write(std::slice::from_ref(&one)).await {
                let payment = one.due.payment.id;
                tracing::error!(%payment, %error, "an answer of the card processor cannot be settled");
            }
        }
        Ok(())
    }

    async fn write(&self, answered: &[Answered]) -> Result<(), Error> {
        settle_cards(&self.db, &self.clock, answered).await?;
        self.doorbell.ring();
        Ok(())
    }

    async fn postpone(&self, due: &Due, missed: &Missed) -> Result<(), Error> {
        let limits = &self.limits;
        let (payment, kind, attempts) = (due.payment.id, due.intent.call.as_str(), due.attempts);
        let pause = match missed {
            Missed::Failed(error) => {
                tracing::warn!(%payment, kind, attempts, %error, "a call is made again");
                let doublings = attempts.saturating_sub(1).min(16);
                limits
                    .retry_first
                    .saturating_mul(1 << doublings)
                    .min(limits.retry_max)
            }
            Missed::Forgotten | Missed::NoCard => {
                let key = due.intent.key;
                tracing::error!(%payment, %key, kind, error = %missed, "a payment needs a person");
                limits.retry_forgotten
            }
        };
        intents::postpone(&self.db, &due.intent, pause).await
    }
}

async fn call(processor: Processor, due: Due) -> Called {
    let answer = ask(&processor, &due).await;
    Called { due, answer }
}

async fn ask(processor: &Processor, due: &Due) -> Result<Answer, Missed> {
    let Source::Card { token, key } = &due.payment.source else {
        return Err(Missed::NoCard);
    };
    let own_key = due.intent.key;
    if due.is_old {
        // the processor would take a call with a forgotten key for a new one
        return processor.look_up(own_key).await?.ok_or(Missed::Forgotten);
    }
    Ok(match due.intent.call {
        Call::Charge => processor.charge(own_key, token, due.payment.amount).await?,
        Call::Refund { amount, .. } => processor.refund(own_key, *key, amount).await?,
    })
}
