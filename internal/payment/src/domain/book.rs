use std::collections::{BTreeMap, HashMap};

use palinode_values::{Money, OrderId, PaymentId, UserId};

use crate::domain::{
    Asked, Back, Event, Payment, Reason, Refund, RefundState, Source, State, Transfer, Wallet,
};

/// What a command asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// Take the money: the payment as it is asked for, pending.
    Charge(Payment),
    /// Give back what is left of it: the payment of the order, which has to be this one.
    Refund(OrderId, Option<PaymentId>, Asked),
    /// Give back what is asked for of the payment of the order, and no more than is left.
    RefundPart(OrderId, Asked),
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
    Refunded(Payment, Refund),
    /// The card processor is to be asked for the refund.
    AskRefund(Payment, Refund),
    /// All of it went back before.
    AlreadyBack,
    /// Another saga's payment of the order stands in the way; nothing is written.
    Refused(Reason),
    /// There is nothing that could be given back, in words; nothing is written.
    NothingToRefund(String),
    /// A refund of it is under way, in words: what will be left is not known yet; nothing is written.
    UnderWay(String),
    /// So much cannot be given back, in words; nothing is written.
    RefundRefused(Reason, String),
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
    refunds: Vec<Refund>,
}

#[derive(Debug)]
struct Entry {
    payment: Payment,
    /// As it stands in the database; `None`: it is not there yet.
    stored: Option<(State, Back)>,
}

impl Book {
    pub(crate) fn new(wallets: Vec<(UserId, Wallet)>, payments: Vec<Payment>) -> Self {
        let entry = |payment: Payment| {
            let stored = Some((payment.state.clone(), payment.back));
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
                Request::Refund(order, payment, asked) => self.refund(*order, *payment, asked),
                Request::RefundPart(order, asked) => self.refund_part(*order, asked),
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

    /// Stored payments that have changed, with the state that is expected to stand there.
    pub(crate) fn changed(&self) -> Vec<(&Payment, &State)> {
        self.payments
            .values()
            .filter_map(|entry| Some((&entry.payment, entry.stored.as_ref()?)))
            .filter(|(payment, (state, back))| (&payment.state, &payment.back) != (state, back))
            .map(|(payment, (state, _))| (payment, state))
            .collect()
    }

    /// What each wallet gains or loses in minor units, in key order.
    pub(crate) fn deltas(&self) -> impl Iterator<Item = (&UserId, i64)> {
        self.deltas
            .iter()
            .map(|(user, delta)| (user, *delta))
            .filter(|(_, delta)| *delta != 0)
    }

    /// Refunds that are to be inserted, in the order of arrival.
    pub(crate) fn refunds(&self) -> &[Refund] {
        &self.refunds
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

    fn refund(&mut self, order: OrderId, meant: Option<PaymentId>, asked: &Asked) -> Decision {
        let Some(entry) = self.payments.get(&order) else {
            return Decision::NothingToRefund(format!("order {order} has no payment"));
        };
        let Payment { id, state, .. } = &entry.payment;
        if meant.is_some_and(|meant| meant != *id) {
            return Decision::NothingToRefund(format!("the payment of order {order} is {id}"));
        }
        match state {
            State::Captured => {}
            // what the saga wants is so, whoever gave it back: staff may have, part by part
            State::Refunded => return Decision::AlreadyBack,
            // somebody else's refund: this step's own guard row would have answered. What is left is known
            // when the card processor has answered
            State::Refunding => {
                let words = format!("payment {id} of order {order} is refunding");
                return Decision::UnderWay(words);
            }
            State::Pending | State::Declined(_) => {
                let state = state.as_str();
                let words = format!("payment {id} of order {order} is {state}");
                return Decision::NothingToRefund(words);
            }
        }
        let left = entry.payment.left();
        self.give_back(order, asked, left)
    }

    fn refund_part(&mut self, order: OrderId, asked: &Asked) -> Decision {
        let Some(Entry { payment, .. }) = self.payments.get(&order) else {
            return Decision::NothingToRefund(format!("order {order} has no payment"));
        };
        let id = payment.id;
        if let State::Pending | State::Declined(_) = payment.state {
            let words = format!("payment {id} is {}", payment.state.as_str());
            return Decision::RefundRefused(Reason::NotCaptured, words);
        }
        let (taken, left) = (payment.amount, payment.left());
        let amount = asked.amount.unwrap_or(left);
        if amount.currency != taken.currency {
            let words = format!("payment {id} was made in {}", taken.currency);
            return Decision::RefundRefused(Reason::CurrencyMismatch, words);
        }
        if !(1..=left.minor).contains(&amount.minor) {
            let words = format!("{left} are left of the {taken} of payment {id}");
            return Decision::RefundRefused(Reason::RefundExceedsCharge, words);
        }
        self.give_back(order, asked, amount)
    }

    /// Gives back `amount`, which is left.
    fn give_back(&mut self, order: OrderId, asked: &Asked, amount: Money) -> Decision {
        let Some(entry) = self.payments.get_mut(&order) else {
            return Decision::NothingToRefund(format!("order {order} has no payment"));
        };
        entry.payment = applied(entry.payment.clone(), Event::RefundAsked(amount.minor));
        if let Source::Card { .. } = entry.payment.source {
            let payment = entry.payment.clone();
            let refund = asked.over(payment.id, amount, RefundState::Pending);
            self.refunds.push(refund.clone());
            return Decision::AskRefund(payment, refund);
        }
        entry.payment = applied(entry.payment.clone(), Event::PaidBack(amount.minor));
        let payment = entry.payment.clone();
        let refund = asked.over(payment.id, amount, RefundState::Done);
        let transfer = self.put_back(&payment, &refund);
        self.transfers.push(transfer);
        self.refunds.push(refund.clone());
        Decision::Refunded(payment, refund)
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

    fn put_back(&mut self, payment: &Payment, refund: &Refund) -> Transfer {
        let (user, amount) = (&payment.user_id, refund.amount);
        match self.wallets.get_mut(user) {
            Some(Wallet::Closed) => return Transfer::refund_to_house(payment, refund.id, amount),
            Some(Wallet::Open(balance)) => {
                balance.minor = balance.minor.saturating_add(amount.minor);
            }
            // its row is missing: the statement that writes the balance will say so
            None => {}
        }
        *self.deltas.entry(user.clone()).or_default() += amount.minor;
        Transfer::refund(payment, refund.id, amount)
    }
}

fn applied(mut payment: Payment, event: Event) -> Payment {
    payment
        .apply(event)
        .expect("a new payment may be taken or refused, what is left of a captured one given back");
    payment
}

#[cfg(test)]
mod tests;
