use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value as Json, json};

use crate::seed::{COMMON, POOR, RARE, SOLD_OUT, shopper};

/// What is to become of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    /// Nothing speaks against it.
    Sound,
    /// Fails at reserve-stock: there is none.
    SoldOut,
    /// Fails at reserve-stock: there is not that much.
    TooMany,
    /// Fails at charge-payment: the wallet holds too little.
    PoorWallet,
    /// Fails at charge-payment: the card is declined.
    DeclinedCard,
    /// Fails at arrange-shipping, the pivot: everything before is taken back.
    NoCarrier,
}

/// How it is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Wallet,
    Card,
}

/// Sixteen orders, half by wallet and half by card, of which two fail at each step.
const BLOCK: [(Fate, Method); 16] = [
    (Fate::Sound, Method::Wallet),
    (Fate::Sound, Method::Wallet),
    (Fate::Sound, Method::Wallet),
    (Fate::Sound, Method::Wallet),
    (Fate::Sound, Method::Wallet),
    (Fate::Sound, Method::Card),
    (Fate::Sound, Method::Card),
    (Fate::Sound, Method::Card),
    (Fate::Sound, Method::Card),
    (Fate::Sound, Method::Card),
    (Fate::SoldOut, Method::Wallet),
    (Fate::TooMany, Method::Card),
    (Fate::PoorWallet, Method::Wallet),
    (Fate::DeclinedCard, Method::Card),
    (Fate::NoCarrier, Method::Wallet),
    (Fate::NoCarrier, Method::Card),
];

/// One call in so many is repeated with the same key.
const REPEATED_ONE_IN: u32 = 5;

/// The stream of orders that a seed gives; any of them can be asked for, so none is kept.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    pub(crate) seed: u64,
    /// Makes idempotency keys of this run differ from those of any other on the same stack.
    pub(crate) run: String,
}

/// An order to be placed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Planned {
    pub(crate) fate: Fate,
    pub(crate) method: Method,
    pub(crate) key: String,
    pub(crate) body: Json,
    /// The call is made twice.
    pub(crate) repeated: bool,
}

impl Workload {
    /// Order `number`, from 0.
    pub(crate) fn order(&self, number: u32) -> Planned {
        let size = u32::try_from(BLOCK.len()).expect("a block is small");
        let mut shuffled = BLOCK;
        shuffled.shuffle(&mut self.random(u64::from(number / size) << 32));
        let (fate, method) = shuffled[(number % size) as usize];
        let mut random = self.random(u64::from(number) + 1);
        let body = body(fate, method, &mut random);
        Planned {
            fate,
            method,
            key: format!("demo-{}-{number}", self.run),
            body,
            repeated: random.random_ratio(1, REPEATED_ONE_IN),
        }
    }

    /// Random numbers of their own for each stream.
    fn random(&self, stream: u64) -> ChaCha8Rng {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(stream);
        random
    }
}

fn body(fate: Fate, method: Method, random: &mut ChaCha8Rng) -> Json {
    let user = match fate {
        Fate::PoorWallet => POOR.to_owned(),
        Fate::Sound | Fate::SoldOut | Fate::TooMany | Fate::DeclinedCard | Fate::NoCarrier => {
            shopper(random.random_range(0..1_000))
        }
    };
    let mut lines = vec![];
    let first = random.random_range(0..COMMON.len());
    for offset in 0..random.random_range(1..=2) {
        let sku = COMMON[(first + offset) % COMMON.len()];
        lines.push(json!({"sku": sku, "quantity": random.random_range(1..=3)}));
    }
    match fate {
        Fate::SoldOut => lines.push(json!({"sku": SOLD_OUT, "quantity": 1})),
        Fate::TooMany => lines.push(json!({"sku": RARE, "quantity": 100})),
        Fate::Sound | Fate::PoorWallet | Fate::DeclinedCard | Fate::NoCarrier => {}
    }
    let (city, country) = match fate {
        Fate::NoCarrier => ("McMurdo", "AQ"),
        Fate::Sound | Fate::SoldOut | Fate::TooMany | Fate::PoorWallet | Fate::DeclinedCard => {
            ("Berlin", "DE")
        }
    };
    let payment = match (method, fate) {
        (Method::Wallet, _) => json!({"wallet": {}}),
        (Method::Card, Fate::DeclinedCard) => json!({"card": {"token": "tok_declined"}}),
        (Method::Card, _) => json!({"card": {"token": "tok_visa"}}),
    };
    json!({
        "userId": user,
        "lines": lines,
        "address": {
            "name": "Ada Demo", "street": "Hauptstr. 1", "postalCode": "10115",
            "city": city, "country": country,
        },
        "paymentMethod": payment,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn workload(seed: u64) -> Workload {
        Workload {
            seed,
            run: "test".to_owned(),
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_orders_and_another_gives_others() {
        let orders = |seed| {
            (0..100)
                .map(|n| workload(seed).order(n))
                .collect::<Vec<_>>()
        };
        assert_eq!(orders(7), orders(7));
        assert_ne!(orders(7), orders(8));
    }

    #[test]
    fn every_step_fails_for_some_and_half_is_paid_by_wallet() {
        for seed in 0..20 {
            let orders: Vec<_> = (0..32).map(|n| workload(seed).order(n)).collect();
            let wallets = orders.iter().filter(|o| o.method == Method::Wallet).count();
            assert_eq!(wallets, 16);
            let mut fates: BTreeMap<Fate, u32> = BTreeMap::new();
            for order in &orders {
                *fates.entry(order.fate).or_default() += 1;
            }
            let counts: Vec<_> = fates.into_values().collect();
            assert_eq!(counts, [20, 2, 2, 2, 2, 4], "seed {seed}");
        }
    }

    #[test]
    fn no_two_orders_have_the_same_key() {
        let keys: std::collections::BTreeSet<_> =
            (0..500).map(|n| workload(1).order(n).key).collect();
        assert_eq!(keys.len(), 500);
    }
}
