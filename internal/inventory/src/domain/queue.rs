use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use palinode_values::{OrderId, SagaId, Sku, Timestamp};

use super::{Level, Line, Reason, Refusal};

/// How long a reservation waits at the most; shorter than the deadline of a step, so that the saga
/// hears of it in time.
pub(crate) const WAIT: Duration = Duration::from_secs(20);

/// A reservation that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) saga: SagaId,
    pub(crate) step: String,
    pub(crate) order: OrderId,
    /// Each SKU once.
    pub(crate) lines: Vec<Line>,
    pub(crate) until: Timestamp,
}

/// What becomes of a waiting reservation now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Everything it needs is free, and nobody waits before it.
    Granted,
    /// It will not get what it needs.
    Refused(Refusal),
    /// It goes on waiting.
    Waits,
}

/// Decides about waiting reservations: first come first served for each SKU, and nobody overtakes.
///
/// Shape: `waits` in the order of arrival, with every SKU of theirs in `levels`, from which what is
/// granted is taken. One fate for each.
pub(crate) fn fates(
    levels: &mut BTreeMap<Sku, Level>,
    waits: &[Wait],
    now: Timestamp,
) -> Vec<Fate> {
    let mut awaited: BTreeSet<Sku> = BTreeSet::new();
    waits
        .iter()
        .map(|wait| {
            let fate = fate(levels, &awaited, wait, now);
            match fate {
                Fate::Granted => {
                    for line in &wait.lines {
                        if let Some(level) = levels.get_mut(&line.sku) {
                            level.held += line.quantity;
                        }
                    }
                }
                Fate::Waits => awaited.extend(wait.lines.iter().map(|line| line.sku.clone())),
                Fate::Refused(_) => {}
            }
            fate
        })
        .collect()
}

fn fate(
    levels: &BTreeMap<Sku, Level>,
    awaited: &BTreeSet<Sku>,
    wait: &Wait,
    now: Timestamp,
) -> Fate {
    let refused = |line: &Line, why: &str| {
        let detail = format!("{} of {} are needed, and {why}", line.quantity, line.sku);
        Fate::Refused(Refusal {
            reason: Reason::OutOfStock,
            detail,
        })
    };
    let level = |line: &Line| levels.get(&line.sku).copied().unwrap_or_default();
    if let Some(line) = wait.lines.iter().find(|l| level(l).on_hand < l.quantity) {
        return refused(line, "the others were sold meanwhile");
    }
    let free =
        |line: &Line| level(line).available() >= line.quantity && !awaited.contains(&line.sku);
    match wait.lines.iter().find(|line| !free(line)) {
        None => Fate::Granted,
        Some(line) if wait.until <= now => refused(line, "none came free in time"),
        Some(_) => Fate::Waits,
    }
}
