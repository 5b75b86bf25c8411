use palinode_pb::inventory::v1::{CommitStock, ReleaseStock, ReserveStock};
use palinode_pb::order::v1::{ConfirmOrder, PlaceOrder, RejectOrder};
use palinode_pb::payment::v1::{ChargePayment, RefundPayment};
use palinode_pb::shipping::v1::{ArrangeShipping, QuoteShipping};
use palinode_saga::{
    Plan, PlanBuilder, PlanErrors, StepBuilder, cause_detail, cause_reason, secs, step,
};

/// `place-order` version 1: reserve stock, charge the payment, arrange shipping; then, in
/// parallel, turn the held stock into sold stock and confirm the order.
///
/// # Errors
/// Never, unless a rule of plans was changed: a test builds it.
pub fn place_order_1() -> Result<Plan, PlanErrors> {
    begin(1)
        .step(charge_payment("reserve-stock"))
        .step(arrange_shipping().without("carrier_version"))
        .step(commit_stock())
        .step(confirm_order())
        .build()
}

/// `place-order` version 2: asks who would deliver before any money is taken, so that an address
/// without a carrier costs nobody a charge and its refund; and arranges shipping only with the
/// carrier that was found then (it is read again, by its version).
///
/// # Errors
/// Never, unless a rule of plans was changed: a test builds it.
pub fn place_order_2() -> Result<Plan, PlanErrors> {
    begin(2)
        .step(
            step("quote-shipping")
                .at("shipping")
                .after(["reserve-stock"])
                .read_only::<QuoteShipping>(),
        )
        .step(charge_payment("quote-shipping"))
        .step(arrange_shipping())
        .step(commit_stock())
        .step(confirm_order())
        .build()
}

fn begin(version: u32) -> PlanBuilder {
    Plan::new("place-order", version)
        .input::<PlaceOrder>()
        .deadline(secs(120))
        .cancellable()
        .opened_by(
            step("open-order")
                .at("order")
                .undo::<RejectOrder>()
                .bind_undo("reason", cause_reason())
                .bind_undo("detail", cause_detail())
                .token("order.pending"),
        )
        .step(
            step("reserve-stock")
                .at("inventory")
                .after(["open-order"])
                .compensatable::<ReserveStock, ReleaseStock>()
                .token("stock.hold"),
        )
}

fn charge_payment(after: &str) -> StepBuilder {
    step("charge-payment")
        .at("payment")
        .after([after])
        .compensatable::<ChargePayment, RefundPayment>()
        .token("payment.charge")
}

fn arrange_shipping() -> StepBuilder {
    step("arrange-shipping")
        .at("shipping")
        .after(["charge-payment"])
        .pivot::<ArrangeShipping>()
        .token("shipment")
}

fn commit_stock() -> StepBuilder {
    step("commit-stock")
        .at("inventory")
        .after(["arrange-shipping"])
        .retriable::<CommitStock>()
        .token("stock.sold")
}

fn confirm_order() -> StepBuilder {
    step("confirm-order")
        .at("order")
        .after(["arrange-shipping"])
        .retriable::<ConfirmOrder>()
        .token("order.confirmed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::registry::DescriptorSchema;

    #[test]
    fn every_field_of_every_command_is_bound() {
        let plan = place_order_1()
            .unwrap()
            .resolve(&DescriptorSchema::default())
            .unwrap();
        insta::assert_json_snapshot!(plan.steps());
    }

    /// Plans that were released are never edited: their sagas are pinned to these hashes.
    #[test]
    fn released_plans_stay_as_they_are() {
        let plans = crate::plans().unwrap().into_iter();
        let hashes = plans.map(|plan| {
            let plan = plan.resolve(&DescriptorSchema::default()).unwrap();
            format!("{} {}", plan.label(), plan.hash())
        });
        insta::assert_snapshot!(hashes.collect::<Vec<_>>().join("\n"));
    }
}
