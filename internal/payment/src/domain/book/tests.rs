use std::collections::BTreeMap;

use palinode_values::{Clock, Currency, PaymentId, RefundId, SagaId};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::domain::Requester;
use crate::domain::ledger::Account;

fn eur(minor: i64) -> Money {
    Money::new(minor, Currency::EUR)
}

fn user(name: &str) -> UserId {
    name.parse().unwrap()
}

fn order(number: u128) -> OrderId {
    OrderId(Uuid::from_u128(number))
}

fn charge(number: u128, name: &str, minor: i64, source: Source) -> Request {
    Request::Charge(Payment {
        id: PaymentId(Uuid::from_u128(number)),
        order_id: order(number),
        saga_id: SagaId::new(&Clock::system()),
        user_id: user(name),
        amount: eur(minor),
        source,
        state: State::Pending,
        back: Back::default(),
    })
}

fn asked(amount: Option<Money>) -> Asked {
    Asked {
        id: RefundId::new(&Clock::system()),
        amount,
        reason: "it broke".to_owned(),
        requested_by: Requester::User(user("carol")),
    }
}

/// What a saga wants: all that is left.
fn back(number: u128) -> Request {
    Request::Refund(order(number), None, asked(None))
}

/// What staff wants.
fn part(number: u128, minor: i64) -> Request {
    Request::RefundPart(order(number), asked(Some(eur(minor))))
}

fn taken(number: u128, name: &str, minor: i64, source: Source) -> Payment {
    let Request::Charge(mut payment) = charge(number, name, minor, source) else {
        unreachable!()
    };
    payment.apply(Event::Taken).unwrap();
    payment
}

fn card() -> Source {
    Source::Card {
        token: "tok_ok".to_owned(),
        key: Uuid::nil(),
    }
}

fn name_of(decision: &Decision) -> &'static str {
    match decision {
        Decision::Captured(_) => "captured",
        Decision::Declined(_, reason) | Decision::Refused(reason) => reason.as_str(),
        Decision::AskCharge(_) => "ask charge",
        Decision::Refunded(..) => "refunded",
        Decision::AskRefund(..) => "ask refund",
        Decision::AlreadyBack => "already back",
        Decision::NothingToRefund(_) => "nothing to refund",
        Decision::UnderWay(_) => "under way",
        Decision::RefundRefused(reason, _) => reason.as_str(),
    }
}

fn open(minor: i64) -> Wallet {
    Wallet::Open(eur(minor))
}

#[test]
fn requests_are_decided_in_arrival_order_against_the_running_balance() {
    let mut book = Book::new(vec![(user("alice"), open(1_000))], Vec::new());
    let decisions = book.decide(&[
        charge(1, "alice", 700, Source::Wallet),
        charge(2, "alice", 400, Source::Wallet), // 300 are left
        charge(3, "alice", 300, Source::Wallet),
        back(1),
        charge(4, "alice", 700, Source::Wallet), // of what came back
        charge(4, "alice", 1, Source::Wallet),
        charge(5, "bob", 1, Source::Wallet),
        charge(6, "bob", 1, card()),
        back(2), // it was declined
        back(6), // it is not captured yet
        back(7),
    ]);
    let names: Vec<_> = decisions.iter().map(name_of).collect();
    assert_eq!(
        names,
        [
            "captured",
            "INSUFFICIENT_FUNDS",
            "captured",
            "refunded",
            "captured",
            "ALREADY_CHARGED",
            "NO_WALLET",
            "ask charge",
            "nothing to refund",
            "nothing to refund",
            "nothing to refund",
        ]
    );
    assert_eq!(
        book.deltas().collect::<Vec<_>>(),
        [(&user("alice"), -1_000)]
    );
    assert_eq!(book.inserted().len(), 6);
    assert!(book.changed().is_empty()); // nothing was stored before
}

#[test]
fn a_card_is_asked_for_the_refund_of_a_captured_payment() {
    let payment = taken(1, "alice", 5, card());
    let mut book = Book::new(Vec::new(), vec![payment]);
    let decisions = book.decide(&[back(1), back(1)]);
    assert_eq!(
        decisions.iter().map(name_of).collect::<Vec<_>>(),
        ["ask refund", "under way"]
    );
    let changed = book.changed();
    assert_eq!(changed.len(), 1);
    assert_eq!(
        (&changed[0].0.state, changed[0].1),
        (&State::Refunding, &State::Captured)
    );
    assert!(book.transfers().is_empty()); // the money has not moved
}

#[test]
fn parts_go_back_up_to_the_charge_and_a_saga_gets_the_rest() {
    let stored = vec![
        taken(1, "alice", 300, Source::Wallet),
        taken(2, "alice", 300, card()),
        taken(3, "alice", 300, Source::Wallet),
    ];
    let mut book = Book::new(vec![(user("alice"), open(0))], stored);
    let dollars = Some(Money::new(1, "USD".parse().unwrap()));
    let decisions = book.decide(&[
        part(1, 100),
        part(1, 201),
        Request::RefundPart(order(1), asked(dollars)),
        part(1, 50),
        back(1),
        back(1),
        part(1, 1),
        Request::RefundPart(order(1), asked(None)),
        part(2, 100),
        part(2, 100), // both are asked for at once
        part(2, 101),
        back(2),
        Request::RefundPart(order(2), asked(None)),
        part(2, 1),
        part(3, 300),
        back(3), // staff was first
    ]);
    let names: Vec<_> = decisions.iter().map(name_of).collect();
    assert_eq!(
        names,
        [
            "refunded",
            "REFUND_EXCEEDS_CHARGE",
            "CURRENCY_MISMATCH",
            "refunded",
            "refunded",
            "already back",
            "REFUND_EXCEEDS_CHARGE",
            "REFUND_EXCEEDS_CHARGE",
            "ask refund",
            "ask refund",
            "REFUND_EXCEEDS_CHARGE",
            "under way",
            "ask refund",
            "REFUND_EXCEEDS_CHARGE",
            "refunded",
            "already back",
        ]
    );
    let amounts: Vec<i64> = book.refunds().iter().map(|r| r.amount.minor).collect();
    assert_eq!(amounts, [100, 50, 150, 100, 100, 100, 300]);
    let words = format!("{:?}", decisions[1]);
    assert!(
        words.contains("2.00 EUR are left of the 3.00 EUR"),
        "{words}"
    );
    assert_eq!(book.deltas().collect::<Vec<_>>(), [(&user("alice"), 600)]);
}

#[test]
fn an_amount_in_another_currency_is_refused() {
    let dollars = Money::new(1_000, "USD".parse().unwrap());
    let mut book = Book::new(vec![(user("alice"), Wallet::Open(dollars))], Vec::new());
    let decisions = book.decide(&[charge(1, "alice", 1, Source::Wallet)]);
    assert_eq!(name_of(&decisions[0]), "CURRENCY_MISMATCH");
}

#[test]
fn a_closed_wallet_is_not_charged_and_its_refunds_go_to_the_house() {
    let paid = taken(1, "alice", 300, Source::Wallet);
    let mut book = Book::new(vec![(user("alice"), Wallet::Closed)], vec![paid]);
    let decisions = book.decide(&[
        back(1),
        charge(2, "alice", 1, Source::Wallet), // nothing came back that could be taken
    ]);
    let names: Vec<_> = decisions.iter().map(name_of).collect();
    assert_eq!(names, ["refunded", "WALLET_CLOSED"]);
    assert_eq!(book.deltas().count(), 0);
    let entries: Vec<_> = book
        .transfers()
        .iter()
        .flat_map(Transfer::entries)
        .collect();
    assert_eq!(
        entries,
        [(&Account::Shop, eur(-300)), (&Account::Unclaimed, eur(300))]
    );
}

proptest! {
    #[test]
    fn money_is_conserved_and_no_balance_falls_below_zero(
        balances in prop::collection::vec(0..2_000_i64, 3),
        requests in prop::collection::vec((0..12_u128, 0..4_usize, 1..900_i64, 0..3_u8), 0..60),
    ) {
        let names = ["alice", "bob", "carol", "nobody"];
        let opened = names.iter().zip(&balances).map(|(name, minor)| (user(name), open(*minor)));
        let mut book = Book::new(opened.collect(), Vec::new());
        let requests: Vec<_> = requests
            .into_iter()
            .map(|(number, who, minor, what)| match what {
                0 => back(number),
                1 => part(number, minor),
                _ => charge(number, names[who], minor, Source::Wallet),
            })
            .collect();
        let decisions = book.decide(&requests);
        prop_assert_eq!(decisions.len(), requests.len());

        let mut sums = BTreeMap::<&Account, i64>::new();
        for transfer in book.transfers() {
            let entries = transfer.entries();
            prop_assert_eq!(entries.iter().map(|(_, amount)| amount.minor).sum::<i64>(), 0);
            for (account, amount) in entries {
                *sums.entry(account).or_default() += amount.minor;
            }
        }
        for (name, before) in names.iter().zip(&balances) {
            let delta = book.deltas.get(&user(name)).copied().unwrap_or_default();
            prop_assert!(before + delta >= 0);
            let account = Account::Wallet(user(name));
            prop_assert_eq!(sums.get(&account).copied().unwrap_or_default(), delta);
        }
        let captured = book.inserted().iter().map(|p| p.left().minor).sum::<i64>();
        prop_assert_eq!(sums.get(&Account::Shop).copied().unwrap_or_default(), captured);
    }
}
