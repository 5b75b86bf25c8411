//! Plans that only the lab knows: shapes that no plan of this release has.

use anyhow::Context;
use palinode_pb::inventory::v1::{CommitStock, ReleaseStock, ReserveStock};
use palinode_pb::order::v1::{PlaceOrder, RejectOrder};
use palinode_pb::payment::v1::{ChargePayment, RefundPayment};
use palinode_pb::shipping::v1::ArrangeShipping;
use palinode_saga::{Plan, PlanErrors, secs, step};

use crate::plans;

/// A plan of this release or of the lab, by its name, or by name and version.
///
/// # Errors
/// There is none of that name; names those that there are.
pub fn plan(name: &str) -> anyhow::Result<Plan> {
    let samples = samples()?;
    let mut named = samples
        .iter()
        .filter(|plan| plan.name() == name || plan.label() == name);
    if let Some(plan) = named.next() {
        return Ok(plan.clone());
    }
    let labels: Vec<String> = samples.iter().map(Plan::label).collect();
    plans::plan(name).with_context(|| format!("of the lab there is also {}", labels.join(", ")))
}

/// Every plan of this release, and of the lab.
///
/// # Errors
/// Every rule that a plan breaks.
pub fn plans() -> anyhow::Result<Vec<Plan>> {
    let mut plans = plans::plans()?;
    plans.extend(samples()?);
    Ok(plans)
}

fn samples() -> Result<Vec<Plan>, PlanErrors> {
    Ok(vec![parallel()?])
}

/// Two branches that can both be taken back, a step that joins them, and a pivot.
fn parallel() -> Result<Plan, PlanErrors> {
    Plan::new("parallel", 1)
        .input::<PlaceOrder>()
        .deadline(secs(120))
        .cancellable()
        .opened_by(
            step("open")
                .at("order")
                .undo::<RejectOrder>()
                .token("order.pending"),
        )
        .step(
            step("reserve")
                .at("inventory")
                .after(["open"])
                .compensatable::<ReserveStock, ReleaseStock>()
                .token("stock.hold"),
        )
        .step(
            step("charge")
                .at("payment")
                .after(["open"])
                .compensatable::<ChargePayment, RefundPayment>()
                .token("payment.charge"),
        )
        .step(
            step("ship")
                .at("shipping")
                .after(["reserve", "charge"])
                .pivot::<ArrangeShipping>()
                .token("shipment"),
        )
        .step(
            step("commit")
                .at("inventory")
                .after(["ship"])
                .retriable::<CommitStock>()
                .token("stock.sold"),
        )
        .build()
}
