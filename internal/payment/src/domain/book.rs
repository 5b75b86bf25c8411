use std::collections::{BTreeMap, HashMap};

use palinode_values::{Money, OrderId, PaymentId, UserId};

use crate::domain::{Event, Payment, Reason, Source, State, Transfer, Wallet};

/// What a command asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// Take the money: the payment as it is asked for, pending.
    Charge(Payment),
    /// Give it back: the payment of the order, which has to be this one.
    Refund(OrderId, Option<PaymentId>),
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The wallet is debited.
    Captured(Payment),
    /// Nothing is taken; the payment says why.
    Declined(Payment, Reason),
    /// The card processor is to be asked for the charge.
    AskCharge(Payment),
    /// The wallet is credited again; or, if it was closed meanwhile, the house.
    Refunded(Payment),
    /// The card processor is to be asked for the refund.
    AskRefund(Payment),
    /// Another saga's payment of the order stands in the way; nothing is written.
    Refused(Reason),
    /// There is nothing that could be given back, in words; nothing is written.
    NothingToRefund(String),
}

/// The rows that a batch of requests is about: held by its transaction, changed in memory, and
/// written back as a whole.
#[derive(Debug, Default)]
pub(crate) struct Book {
    wallets: HashMap<UserId, Wallet>,
    payments: HashMap<OrderId, Entry>,
    /// Orders whose payment is new, in the order of arrival.
    new: Vec<OrderId>,
    /// What each wallet gains or loses, in minor units.
    deltas: BTreeMap<UserId, i64>,
    transfers: Vec<Transfer>,
}

#[derive(Debug)]
struct Entry {
    payment: Payment,
    /// As it stands in the database; `None`: it is not there yet.
    stored: Option<State>,
}

impl Book {
    pub(crate) fn new(wallets: Vec<(UserId, Wallet)>, payments: Vec<Payment>) -> Self {
        let entry = |payment: Payment| {
            let stored = Some(payment.state.clone());
            (payment.order_id, Entry { payment, stored })
        };
        Self {
            wallets: wallets.into_iter().collect(),
            payments: payments.into_iter().map(entry).collect(),
            ..Self::default()
        }
    }

    /// Decides `requests` in slice order; each sees what those before it took and gave back.
    ///
    /// Shape: one decision for each request, same order.
    pub(crate) fn decide(&mut self, requests: &[Request]) -> Vec<Decision> {
        requests
            .iter()
            .map(|request| match request {
                Request::Charge(payment) => self.charge(payment.clone()),
                Request::Refund(order, payment) => self.refund(*order, *payment),
            })
            .collect()
    }

    /// Payments that are to be inserted, in the order of arrival.
    pub(crate) fn inserted(&self) -> Vec<&Payment> {
        self.new
            .iter()
            .filter_map(|order| self.payments.get(order))
            .map(|e| &e.payment)
            .collect()
    }

    /// Stored payments whose state has changed, with the state that is expected to stand there.
    pub(crate) fn changed(&self) -> Vec<(&Payment, &State)> {
        self.payments
            .values()
            .filter_map(|entry| Some((&entry.payment, entry.stored.as_ref()?)))
            .filter(|(payment, stored)| payment.state != **stored)
            .collect()
    }

    /// What each wallet gains or loses in minor units, in key order.
    pub(crate) fn deltas(&self) -> impl Iterator<Item = (&UserId, i64)> {
        self.deltas
            .iter()
            .map(|(user, delta)| (user, *delta))
            .filter(|(_, delta)| *delta != 0)
    }

    /// What moved, in the order of arrival.
    pub(crate) fn transfers(&self) -> &[Transfer] {
        &self.transfers
    }

    fn charge(&mut self, mut payment: Payment) -> Decision {
        if self.payments.contains_key(&payment.order_id) {
            return Decision::Refused(Reason::AlreadyCharged);
        }
        let decision = match payment.source {
            Source::Card { .. } => Decision::AskCharge(payment.clone()),
            Source::Wallet => match self.take(&payment.user_id, payment.amount) {
                Ok(()) => {
                    payment = applied(payment, Event::Taken);
                    self.transfers.push(Transfer::charge(&payment));
                    Decision::Captured(payment.clone())
                }
                Err(reason) => {
                    payment = applied(payment, Event::Refused(reason));
                    Decision::Declined(payment.clone(), reason)
                }
            },
        };
        self.new.push(payment.order_id);
        self.payments.insert(
            payment.order_id,
            Entry {
                payment,
                stored: None,
            },
        );
        decision
    }

    fn refund(&mut self, order: OrderId, meant: Option<PaymentId>) -> Decision {
        let Some(entry) = self.payments.get_mut(&order) else {
            return Decision::NothingToRefund(format!("order {order} has no payment"));
        };
        let Payment { id, state, .. } = &entry.payment;
        if meant.is_some_and(|meant| meant != *id) {
            return Decision::NothingToRefund(format!("the payment of order {order} is {id}"));
        }
        // Refunded or refunding is never this step's own doing: its guard row would have answered.
        // Another saga gives the money back. To say done would hide that two sagas wanted to, and
        // to pay once more would be worse: whoever asks hears how it stands, until a person looks.
        if *state != State::Captured {
            let state = state.as_str();
            return Decision::NothingToRefund(format!("payment {id} of order {order} is {state}"));
        }
        let event = match entry.payment.source {
            Source::Card { .. } => Event::RefundAsked,
            Source::Wallet => Event::PaidBack,
        };
        entry.payment = applied(entry.payment.clone(), event);
        let payment = entry.payment.clone();
        match payment.source {
            Source::Card { .. } => Decision::AskRefund(payment),
            Source::Wallet => {
                let transfer = self.give_back(&payment);
                self.transfers.push(transfer);
                Decision::Refunded(payment)
            }
        }
    }

    fn take(&mut self, user: &UserId, amount: Money) -> Result<(), Reason> {
        let balance = match self.wallets.get_mut(user) {
            Some(Wallet::Open(balance)) => balance,
            Some(Wallet::Closed) => return Err(Reason::WalletClosed),
            None => return Err(Reason::NoWallet),
        };
        if balance.currency != amount.currency {
            return Err(Reason::CurrencyMismatch);
        }
        if balance.minor < amount.minor {
            return Err(Reason::InsufficientFunds);
        }
        balance.minor -= amount.minor;
        *self.deltas.entry(user.clone()).or_default() -= amount.minor;
        Ok(())
    }

    fn give_back(&mut self, payment: &Payment) -> Transfer {
        let Payment {
            user_id, amount, ..
        } = payment;
        match self.wallets.get_mut(user_id) {
            Some(Wallet::Closed) => return Transfer::refund_to_house(payment),
            Some(Wallet::Open(balance)) => {
                balance.minor = balance.minor.saturating_add(amount.minor);
            }
            // its row is missing: the statement that writes the balance will say so
            None => {}
        }
        *self.deltas.entry(user_id.clone()).or_default() += amount.minor;
        Transfer::refund(payment)
    }
}

fn applied(mut payment: Payment, event: Event) -> Payment {
    payment
        .apply(event)
        .expect("a new payment may be taken or refused, a captured one given back");
    payment
}

#[cfg(test)]
mod tests;
