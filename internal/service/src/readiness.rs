use std::collections::BTreeMap;

use tokio::sync::watch;

/// What a service still waits for before requests are welcome. Cheap to clone; the clones share
/// their conditions.
#[derive(Debug, Clone)]
pub struct Readiness {
    conditions: watch::Sender<BTreeMap<String, bool>>,
}

/// One thing that a service needs in order to be ready.
#[derive(Debug, Clone)]
pub struct Condition {
    name: String,
    conditions: watch::Sender<BTreeMap<String, bool>>,
}

impl Readiness {
    /// Ready, as long as nothing is required.
    #[must_use]
    pub fn new() -> Self {
        Self {
            conditions: watch::Sender::new(BTreeMap::new()),
        }
    }

    /// Requires one thing more, which is not there yet.
    #[must_use]
    pub fn require(&self, name: impl Into<String>) -> Condition {
        let condition = Condition {
            name: name.into(),
            conditions: self.conditions.clone(),
        };
        condition.set(false);
        condition
    }

    /// Whether everything required is there.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.conditions.borrow().values().all(|met| *met)
    }

    /// Names of what is missing.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let conditions = self.conditions.borrow();
        conditions
            .iter()
            .filter(|(_, met)| !**met)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Waits until everything required is there.
    pub async fn ready(&self) {
        self.wait(true).await;
    }

    /// Waits until something is missing.
    pub async fn not_ready(&self) {
        self.wait(false).await;
    }

    async fn wait(&self, ready: bool) {
        let mut changes = self.conditions.subscribe();
        changes
            .wait_for(|conditions| conditions.values().all(|met| *met) == ready)
            .await
            .expect("we hold the sender");
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl Condition {
    /// Says whether the thing is there.
    pub fn set(&self, met: bool) {
        self.conditions
            .send_if_modified(|conditions| conditions.insert(self.name.clone(), met) != Some(met));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ready_is_when_nothing_is_missing() {
        let readiness = Readiness::new();
        readiness.ready().await;
        let database = readiness.require("database");
        let consumer = readiness.require("consumer");
        database.set(true);
        assert_eq!(readiness.missing(), ["consumer"]);
        consumer.set(true);
        readiness.ready().await;
        database.set(false);
        readiness.not_ready().await;
        assert!(!readiness.is_ready());
    }
}
