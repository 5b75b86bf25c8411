use std::any::Any;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tasks of a process, or of a stack inside a process, and their common end. Cheap to clone.
///
/// A task that ends before the stop, whether it failed or not, stops all others: half a service
/// is worse than none, and whoever supervises the process starts it again.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    tracker: TaskTracker,
    stop: CancellationToken,
    failed: watch::Sender<Option<TaskFailure>>,
    /// Names of the tasks that run, with how many have that name.
    running: Mutex<BTreeMap<String, usize>>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            failed: watch::Sender::new(None),
            running: Mutex::default(),
        }
    }
}

/// The first task that ended unasked, or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("task {name}: {cause}")]
pub struct TaskFailure {
    /// The task.
    pub name: String,
    /// Its error with all causes, or that it ended.
    pub cause: String,
}

/// Tasks that did not end within the limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("still running: {}", .0.join(", "))]
pub struct StillRunning(pub Vec<String>);

impl Tasks {
    /// No tasks yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs a task. It is to end soon after the [`Tasks::stop_token`] is cancelled, and not before.
    /// The name is its service and what it does: `order: sweep`.
    pub fn spawn<F>(&self, name: impl Into<String>, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let name = name.into();
        *self.running().entry(name.clone()).or_default() += 1;
        let tasks = self.clone();
        self.inner.tracker.spawn(async move {
            let result = AssertUnwindSafe(task).catch_unwind().await;
            tasks.ended(&name, result);
        });
    }

    /// Cancelled when everything is to stop.
    #[must_use]
    pub fn stop_token(&self) -> CancellationToken {
        self.inner.stop.clone()
    }

    /// The first failure, once there is one.
    #[must_use]
    pub fn failed(&self) -> watch::Receiver<Option<TaskFailure>> {
        self.inner.failed.subscribe()
    }

    /// Asks all tasks to stop, and waits for their end.
    ///
    /// # Errors
    /// Some did not end within `limit`; they go on until the runtime ends.
    pub async fn stop(&self, limit: Duration) -> Result<(), StillRunning> {
        self.inner.stop.cancel();
        self.inner.tracker.close();
        let ended = tokio::time::timeout(limit, self.inner.tracker.wait()).await;
        ended.map_err(|_elapsed| StillRunning(self.running().keys().cloned().collect()))
    }

    fn ended(&self, name: &str, result: Result<anyhow::Result<()>, Box<dyn Any + Send>>) {
        {
            let mut running = self.running();
            if let Some(count) = running.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    running.remove(name);
                }
            }
        }
        let cause = match result {
            Ok(Ok(())) if self.inner.stop.is_cancelled() => return,
            Ok(Ok(())) => "it ended unasked".to_owned(),
            Ok(Err(error)) => format!("{error:#}"),
            Err(panic) => format!("it panicked: {}", words_of(panic.as_ref())),
        };
        tracing::error!(task = name, cause, "a task failed");
        let failure = TaskFailure {
            name: name.to_owned(),
            cause,
        };
        self.inner.failed.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(failure);
            is_first
        });
        self.inner.stop.cancel();
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        // a count is whole after every statement: a panic elsewhere leaves it so
        self.inner
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn words_of(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a word")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn tasks_that_end_when_asked_are_no_failure() {
        let tasks = Tasks::new();
        let stop = tasks.stop_token();
        tasks.spawn("waits", async move {
            stop.cancelled().await;
            Ok(())
        });
        tasks.stop(LIMIT).await.unwrap();
        assert_eq!(*tasks.failed().borrow(), None);
    }

    #[tokio::test]
    async fn a_task_that_ends_unasked_fails_or_panics_stops_all_and_is_named() {
        type Task = futures_util::future::BoxFuture<'static, anyhow::Result<()>>;
        let cases: [(Task, &str); 3] = [
            (Box::pin(async { Ok(()) }), "it ended unasked"),
            (
                Box::pin(async { Err(anyhow::anyhow!("disk full").context("cannot write")) }),
                "cannot write: disk full",
            ),
            (
                Box::pin(async { panic!("off by {}", 1) }),
                "it panicked: off by 1",
            ),
        ];
        for (task, cause) in cases {
            let tasks = Tasks::new();
            let stop = tasks.stop_token();
            tasks.spawn("good", async move {
                stop.cancelled().await;
                Ok(())
            });
            tasks.spawn("bad", task);
            tokio::time::timeout(LIMIT, tasks.stop_token().cancelled())
                .await
                .unwrap();
            let failure = tasks.failed().borrow().clone().unwrap();
            assert_eq!(
                (failure.name.as_str(), failure.cause.as_str()),
                ("bad", cause)
            );
            tasks.stop(LIMIT).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_task_that_does_not_stop_is_named() {
        let tasks = Tasks::new();
        tasks.spawn("deaf", std::future::pending());
        let error = tasks.stop(Duration::from_millis(10)).await.unwrap_err();
        assert_eq!(error, StillRunning(vec!["deaf".to_owned()]));
    }
}
