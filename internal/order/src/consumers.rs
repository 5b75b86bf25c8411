//! Commands of sagas, and events of products and users.

mod products;
mod users;

use bytes::Bytes;
use palinode_db::{Error, Tx};
use palinode_participant::{Decided, Handler, Outcome, Task, Undecodable};
use palinode_pb::order::v1::{CloseOrder, ConfirmOrder, KeepOrder, RejectOrder};
use palinode_values::{OrderId, Timestamp};
use prost::{Message, Name};

use crate::app::decide::{carried_out, decide};
use crate::domain::{Decision, Fulfilment};

pub(crate) use products::Products;
pub(crate) use users::Users;

/// Handles `order.commands`: what sagas decided about orders.
pub(crate) struct Commands;

impl Handler for Commands {
    type Command = (OrderId, Decision);

    fn decode(&self, kind: &str, body: &Bytes) -> Result<Self::Command, Undecodable> {
        fn message<M: Message + Default>(body: &Bytes) -> Result<M, Undecodable> {
            M::decode(body.clone()).map_err(|e| Undecodable(e.to_string()))
        }
        fn id<T: std::str::FromStr>(field: &str, text: &str) -> Result<T, Undecodable> {
            text.parse()
                .map_err(|_| Undecodable(format!("{field} is no id: {text:?}")))
        }
        if kind == ConfirmOrder::full_name() {
            let command: ConfirmOrder = message(body)?;
            let decision = Decision::Confirm(Fulfilment {
                payment_id: id("payment_id", &command.payment_id)?,
                shipment_id: id("shipment_id", &command.shipment_id)?,
            });
            Ok((id("order_id", &command.order_id)?, decision))
        } else if kind == RejectOrder::full_name() {
            let command: RejectOrder = message(body)?;
            let decision = Decision::Reject {
                reason: command.reason,
                detail: command.detail,
            };
            Ok((id("order_id", &command.order_id)?, decision))
        } else if kind == KeepOrder::full_name() {
            let command: KeepOrder = message(body)?;
            let decision = Decision::Keep {
                cancellation: id("cancellation_id", &command.cancellation_id)?,
                reason: command.reason,
                detail: command.detail,
            };
            Ok((id("order_id", &command.order_id)?, decision))
        } else if kind == CloseOrder::full_name() {
            let command: CloseOrder = message(body)?;
            let decision = Decision::Close {
                cancellation: id("cancellation_id", &command.cancellation_id)?,
            };
            Ok((id("order_id", &command.order_id)?, decision))
        } else {
            Err(Undecodable(format!("{kind} is no command for orders")))
        }
    }

    fn expected(&self, task: &Task<'_, Self::Command>, _now: Timestamp) -> Option<Outcome> {
        let (_, decision) = task.command;
        Some(carried_out(decision))
    }

    async fn handle(
        &self,
        mut tx: Tx,
        tasks: &[Task<'_, Self::Command>],
        _now: Timestamp,
    ) -> Result<(Tx, Vec<Decided>), Error> {
        let decisions: Vec<_> = tasks.iter().map(|t| (t.command.0, &t.command.1)).collect();
        let decided = decide(&mut tx, &decisions).await?;
        Ok((tx, decided))
    }
}
