use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use palinode_db::Area;
use palinode_order::Product;
use palinode_pb::inventory::v1::StockLine;
use palinode_pb::order::v1::PlaceOrderRequest;
use palinode_pb::payment::v1::{PaymentMethod, payment_method};
use palinode_pb::shipping::v1::Address;
use palinode_values::{Currency, Money};
use serde_json::json;

use super::load::Load;
use crate::passes::Passes;
use crate::prepare::connect;

/// Users and SKUs that orders are spread over, evenly and in no order.
pub(super) const USERS: u64 = 1_000;
/// See [`USERS`].
pub(super) const SKUS: u64 = 100;
/// Of one piece.
const PRICE_MINOR: i64 = 100;
/// Enough for ten million orders over one SKU.
const STOCK: i64 = 10_000_000;
/// Enough for a million orders of one user.
const MONEY_MINOR: i64 = 99_000_000;

/// A catalogue large enough that nothing runs out, and the orders over it: one piece each.
#[derive(Debug, Clone)]
pub struct Shop {
    pub(super) passes: Arc<Passes>,
    users: Vec<String>,
    skus: Vec<String>,
}

impl Shop {
    /// Fills products, stock and wallets.
    ///
    /// # Errors
    /// A database does not answer.
    pub async fn open(server: &str) -> anyhow::Result<Self> {
        let shop = Self {
            passes: Arc::new(Passes::minted(server).await?),
            users: (0..USERS).map(|n| format!("user-{n:04}")).collect(),
            skus: (0..SKUS).map(|n| format!("part-{n:03}")).collect(),
        };
        tokio::try_join!(
            shop.products(server),
            shop.stock(server),
            shop.money(server)
        )?;
        Ok(shop)
    }

    async fn products(&self, server: &str) -> anyhow::Result<()> {
        let product = |sku: &String| {
            Ok(Product {
                sku: sku.parse()?,
                name: sku.clone(),
                price: Money::new(PRICE_MINOR, Currency::EUR),
            })
        };
        let products: anyhow::Result<Vec<_>> = self.skus.iter().map(product).collect();
        let db = connect(server, Area::Order).await?;
        let seeded = palinode_order::seed(&db, &products?).await;
        db.close().await;
        seeded.context("seeding products")
    }

    async fn stock(&self, server: &str) -> anyhow::Result<()> {
        let stock: anyhow::Result<Vec<_>> = self
            .skus
            .iter()
            .map(|sku| Ok((sku.parse()?, STOCK)))
            .collect();
        let db = connect(server, Area::Inventory).await?;
        let seeded = palinode_inventory::seed(&db, &stock?).await;
        db.close().await;
        seeded.context("seeding stock")
    }

    async fn money(&self, server: &str) -> anyhow::Result<()> {
        let wallets: anyhow::Result<Vec<_>> = self
            .users
            .iter()
            .map(|user| Ok((user.parse()?, MONEY_MINOR)))
            .collect();
        let db = connect(server, Area::Payment).await?;
        let seeded = palinode_payment::seed(&db, &wallets?).await;
        db.close().await;
        seeded.context("seeding wallets")
    }

    /// Order `number` of a load, and who places it.
    #[must_use]
    pub fn order(&self, number: u64, load: &Load) -> (&str, PlaceOrderRequest) {
        // Fibonacci hashing: neighbours lie far apart, and everybody gets the same share
        let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let sku = if load.is_hot { 0 } else { (mixed >> 32) % SKUS };
        let at = |index: u64| usize::try_from(index).expect("the lists are short");
        let method = if is_among(number / 7, load.cards) {
            payment_method::Method::Card(payment_method::Card {
                token: "tok_visa".to_owned(),
            })
        } else {
            payment_method::Method::Wallet(payment_method::Wallet {})
        };
        let country = if Self::fails(number, load) {
            "AQ"
        } else {
            "DE"
        };
        let user = self.users[at((mixed >> 40) % USERS)].as_str();
        let order = PlaceOrderRequest {
            lines: vec![StockLine {
                sku: self.skus[at(sku)].clone(),
                quantity: 1,
            }],
            address: Some(Address {
                name: "Ada".to_owned(),
                street: "Hauptstr. 1".to_owned(),
                postal_code: "10115".to_owned(),
                city: "Berlin".to_owned(),
                country: country.to_owned(),
            }),
            payment_method: Some(PaymentMethod {
                method: Some(method),
            }),
            ..PlaceOrderRequest::default()
        };
        (user, order)
    }

    /// Whether order `number` fails at its last step: no carrier goes there.
    #[must_use]
    pub fn fails(number: u64, load: &Load) -> bool {
        is_among(number, load.failing)
    }

    /// An order as the gateway takes it.
    pub(super) fn json(order: &PlaceOrderRequest) -> Bytes {
        let lines: Vec<_> = order
            .lines
            .iter()
            .map(|line| json!({"sku": line.sku, "quantity": line.quantity}))
            .collect();
        let address = order.address.clone().unwrap_or_default();
        let method = order
            .payment_method
            .as_ref()
            .and_then(|m| m.method.as_ref());
        let payment = match method {
            Some(payment_method::Method::Card(card)) => json!({"card": {"token": card.token}}),
            Some(payment_method::Method::Wallet(_)) | None => json!({"wallet": {}}),
        };
        let order = json!({
            "lines": lines,
            "address": {"name": address.name, "street": address.street,
                "postalCode": address.postal_code, "city": address.city,
                "country": address.country},
            "paymentMethod": payment,
        });
        order.to_string().into()
    }
}

/// `percent` of all numbers, evenly spread.
fn is_among(number: u64, percent: u8) -> bool {
    number.wrapping_mul(37) % 100 < u64::from(percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_what_was_asked_for() {
        for percent in [0, 1, 10, 50, 100] {
            let share = (0..1_000).filter(|n| is_among(*n, percent)).count();
            assert_eq!(share, usize::from(percent) * 10);
        }
    }
}
