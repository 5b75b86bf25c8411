use palinode_pb::inventory::v1::Restock;
use palinode_pb::order::v1::{CancelOrder, CloseOrder, KeepOrder};
use palinode_pb::payment::v1::ReturnPayment;
use palinode_pb::shipping::v1::RecallShipment;
use palinode_saga::{Plan, PlanErrors, cause_detail, cause_reason, secs, step};

/// `cancel-order` version 1, which reverses a completed `place-order`: recall the parcel; then, in
/// parallel, give the money back and put the goods back on the shelf; then close the order.
///
/// The recall is the pivot: a parcel that was handed over stays with its carrier, and the order as
/// it is. Once the parcel is back, money and goods have to follow, however long that takes.
///
/// # Errors
/// Never, unless a rule of plans was changed: a test builds it.
pub fn cancel_order() -> Result<Plan, PlanErrors> {
    Plan::new("cancel-order", 1)
        .input::<CancelOrder>()
        .deadline(secs(120))
        .opened_by(
            step("open-cancellation")
                .at("order")
                .undo::<KeepOrder>()
                .bind_undo("reason", cause_reason())
                .bind_undo("detail", cause_detail())
                .token("order.cancelling"),
        )
        .step(
            step("recall-shipment")
                .at("shipping")
                .after(["open-cancellation"])
                .pivot::<RecallShipment>()
                .token("shipment.recalled"),
        )
        .step(
            step("return-payment")
                .at("payment")
                .after(["recall-shipment"])
                .retriable::<ReturnPayment>()
                .token("payment.returned"),
        )
        .step(
            step("restock")
                .at("inventory")
                .after(["recall-shipment"])
                .retriable::<Restock>()
                .token("stock.restocked"),
        )
        .step(
            step("close-order")
                .at("order")
                .after(["return-payment", "restock"])
                .retriable::<CloseOrder>()
                .token("order.cancelled"),
        )
        .build()
}
