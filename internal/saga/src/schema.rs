use std::collections::BTreeMap;

/// What a plan must know of a message to bind its fields: no descriptor, only names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MessageShape {
    /// Name of each field, and its type in words that are equal if and only if the types are
    /// (`string`, `repeated palinode.inventory.v1.StockLine`).
    pub fields: BTreeMap<String, String>,
    /// Full name of the message that a participant answers this command with.
    pub output: Option<String>,
}

/// The messages that plans may name. The orchestrator reads them from the descriptor set.
pub trait Schema {
    /// The shape of the message of that full name; `None` when there is none.
    fn message(&self, name: &str) -> Option<MessageShape>;
}

impl Schema for BTreeMap<String, MessageShape> {
    fn message(&self, name: &str) -> Option<MessageShape> {
        self.get(name).cloned()
    }
}
