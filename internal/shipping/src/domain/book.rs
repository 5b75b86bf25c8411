use std::collections::BTreeMap;

use palinode_values::{OrderId, SagaId, ShipmentId, Timestamp};

use super::{
    Arrange, Carrier, Command, Country, Event, Reason, Refusal, Shipment, Standing, State,
};

/// The rows that a batch of commands is decided upon.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// Of the countries that the commands name.
    pub(crate) carriers: BTreeMap<Country, Carrier>,
    /// What the orders that are to be shipped have already.
    pub(crate) existing: BTreeMap<OrderId, Existing>,
    /// The shipments that are to be recalled, locked. None of them is made by the same batch:
    /// nobody could name it yet.
    pub(crate) standing: BTreeMap<ShipmentId, Standing>,
}

/// What an order has already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Existing {
    pub(crate) id: ShipmentId,
    pub(crate) saga: SagaId,
}

/// A command, who asks, and the id that a new shipment gets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) saga: SagaId,
    pub(crate) new: ShipmentId,
    pub(crate) command: &'a Command,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A carrier is booked.
    Arranged(Box<Shipment>),
    /// It was booked for this saga before.
    AlreadyArranged(ShipmentId),
    /// This one would deliver.
    Quoted(Carrier),
    /// The parcel is called back.
    Recalled(Standing),
    /// It was called back by this saga before.
    AlreadyRecalled,
    /// No.
    Refused(Refusal),
}

impl Book {
    /// Decides `commands` in arrival order: each sees what the ones before it did.
    ///
    /// Shape: one verdict for each, in the same order. `now` becomes the time of new shipments.
    pub(crate) fn decide(&mut self, commands: &[Asked<'_>], now: Timestamp) -> Vec<Verdict> {
        commands
            .iter()
            .map(|asked| match asked.command {
                Command::Arrange(arrange) => self.arrange(asked.saga, asked.new, arrange, now),
                Command::Quote { country } => self.carrier(country).cloned().map(Verdict::Quoted),
                Command::Recall { order, shipment } => self.recall(asked.saga, *order, *shipment),
            })
            .map(|verdict| verdict.unwrap_or_else(Verdict::Refused))
            .collect()
    }

    fn arrange(
        &mut self,
        saga: SagaId,
        id: ShipmentId,
        arrange: &Arrange,
        now: Timestamp,
    ) -> Result<Verdict, Refusal> {
        let order = arrange.order;
        if let Some(there) = self.existing.get(&order) {
            if there.saga == saga {
                return Ok(Verdict::AlreadyArranged(there.id));
            }
            let detail = format!("order {order} has the shipment {} already", there.id);
            return Err(Refusal {
                reason: Reason::AlreadyShipped,
                detail,
            });
        }
        let country = &arrange.address.country;
        let carrier = self.carrier(country)?;
        if arrange
            .carrier_version
            .is_some_and(|seen| seen != carrier.version)
        {
            let detail = format!(
                "{} delivers to {} now, which is not what was quoted",
                carrier.name,
                country.as_str()
            );
            return Err(Refusal {
                reason: Reason::CarrierChanged,
                detail,
            });
        }
        let carrier = carrier.name.clone();
        self.existing.insert(order, Existing { id, saga });
        Ok(Verdict::Arranged(Box::new(Shipment {
            id,
            order,
            user: arrange.user.clone(),
            saga,
            state: State::Arranged,
            carrier,
            address: arrange.address.clone(),
            items: arrange.items.clone(),
            created_at: now,
        })))
    }

    fn carrier(&self, country: &Country) -> Result<&Carrier, Refusal> {
        self.carriers.get(country).ok_or_else(|| Refusal {
            reason: Reason::NoCarrier,
            detail: format!("no carrier delivers to {:?}", country.as_str()),
        })
    }

    fn recall(
        &mut self,
        saga: SagaId,
        order: OrderId,
        shipment: ShipmentId,
    ) -> Result<Verdict, Refusal> {
        let standing = self
            .standing
            .get_mut(&shipment)
            .filter(|standing| standing.order == order)
            .ok_or_else(|| Refusal {
                reason: Reason::ShipmentNotFound,
                detail: format!("order {order} has no shipment {shipment}"),
            })?;
        let Some(recalled) = standing.after(Event::Recall { by: saga })? else {
            return Ok(Verdict::AlreadyRecalled);
        };
        *standing = recalled;
        Ok(Verdict::Recalled(recalled))
    }
}
