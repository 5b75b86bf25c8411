use palinode_pb::inventory::v1::{CommitStock, ReleaseStock, ReserveStock};
use palinode_pb::order::v1::{ConfirmOrder, PlaceOrder, RejectOrder};
use palinode_pb::payment::v1::{ChargePayment, RefundPayment};
use palinode_pb::shipping::v1::ArrangeShipping;
use palinode_saga::{Plan, PlanErrors, cause_detail, cause_reason, secs, step};

/// `place-order` version 1: reserve stock, charge the payment, arrange shipping; then, in
/// parallel, turn the held stock into sold stock and confirm the order.
///
/// # Errors
/// Never, unless a rule of plans was changed: a test builds it.
pub fn place_order() -> Result<Plan, PlanErrors> {
    Plan::new("place-order", 1)
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
        .step(
            step("charge-payment")
                .at("payment")
                .after(["reserve-stock"])
                .compensatable::<ChargePayment, RefundPayment>()
                .token("payment.charge"),
        )
        .step(
            step("arrange-shipping")
                .at("shipping")
                .after(["charge-payment"])
                .pivot::<ArrangeShipping>()
                .token("shipment"),
        )
        .step(
            step("commit-stock")
                .at("inventory")
                .after(["arrange-shipping"])
                .retriable::<CommitStock>()
                .token("stock.sold"),
        )
        .step(
            step("confirm-order")
                .at("order")
                .after(["arrange-shipping"])
                .retriable::<ConfirmOrder>()
                .token("order.confirmed"),
        )
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::registry::DescriptorSchema;

    #[test]
    fn every_field_of_every_command_is_bound() {
        let plan = place_order()
            .unwrap()
            .resolve(&DescriptorSchema::default())
            .unwrap();
        insta::assert_json_snapshot!(plan.steps());
    }
}
