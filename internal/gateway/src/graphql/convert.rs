//! Between the messages of the services and the types of the graph.

use async_graphql::ID;
use palinode_pb::auth::v1::Role;
use palinode_pb::catalog::v1 as catalog;
use palinode_pb::google::r#type::Money as PbMoney;
use palinode_pb::identity::v1 as identity;
use palinode_pb::inventory::v1::StockLine;
use palinode_pb::order::v1 as order;
use palinode_pb::payment::v1 as payment;
use palinode_pb::payment::v1::payment_method::{Card, Method, Wallet};
use palinode_pb::shipping::v1 as shipping;
use palinode_values::{Currency, Money};

use super::errors;
use super::types::{Address, AllOrdersOrder, Int, Line, Order, PaymentMethod, Product, User};

/// Where an order is collected that is placed without an address: GraphQL has not always asked for one.
fn counter() -> shipping::Address {
    shipping::Address {
        name: "Collected at the counter".to_owned(),
        street: "Counter".to_owned(),
        postal_code: "10115".to_owned(),
        city: "Berlin".to_owned(),
        country: "DE".to_owned(),
    }
}

/// The most characters of a SKU that its product's name gives.
const NAME_IN_SKU_MAX: usize = 40;

/// Minor units of an amount; what no service of ours answers is too large as well.
fn minor(name: &str, amount: Option<&PbMoney>) -> Int {
    let Some(amount) = amount else { return Ok(0) };
    let minor = i128::from(amount.units) * 100 + i128::from(amount.nanos / 10_000_000);
    errors::int(name, i64::try_from(minor).unwrap_or(i64::MAX))
}

pub(crate) fn user(user: identity::User) -> User {
    let is_admin = user.roles.contains(&Role::Admin.into());
    User {
        id: ID(user.user_id),
        email: user.email,
        username: user.user_name,
        r#type: i32::from(is_admin),
    }
}

pub(crate) fn product(product: catalog::Product) -> Product {
    Product {
        price: minor("price", product.price.as_ref()),
        sku: product.sku,
        known_stock: None,
        id: ID(product.product_id),
        name: product.name,
        description: product.description,
    }
}

fn pieces(order: &order::Order) -> Int {
    let lines = order.lines.iter().map(|line| i64::from(line.quantity));
    errors::int("quantity", lines.sum())
}

pub(crate) fn listed_order(order: order::Order) -> AllOrdersOrder {
    AllOrdersOrder {
        price_total: minor("price_total", order.total.as_ref()),
        quantity: pieces(&order),
        id: ID(order.order_id),
        user_id: ID(order.user_id),
    }
}

pub(crate) fn order(order: order::Order) -> Order {
    let line = |line: &order::order::Line| Line {
        sku: line.sku.clone(),
        quantity: line.quantity,
        price: minor("price", line.unit_price.as_ref()),
    };
    Order {
        lines: order.lines.iter().map(line).collect(),
        price_total: minor("price_total", order.total.as_ref()),
        quantity: pieces(&order),
        id: ID(order.order_id),
        user_id: ID(order.user_id),
    }
}

/// An order over these pieces of each SKU.
pub(crate) fn placed(
    lines: Vec<(String, i32)>,
    address: Option<Address>,
    payment: Option<PaymentMethod>,
) -> order::PlaceOrderRequest {
    let line = |(sku, quantity)| StockLine { sku, quantity };
    let address = address.map(|address| shipping::Address {
        name: address.name,
        street: address.street,
        postal_code: address.postal_code,
        city: address.city,
        country: address.country,
    });
    let method = match payment.and_then(|payment| payment.card_token) {
        Some(token) => Method::Card(Card { token }),
        None => Method::Wallet(Wallet {}),
    };
    order::PlaceOrderRequest {
        lines: lines.into_iter().map(line).collect(),
        address: Some(address.unwrap_or_else(counter)),
        payment_method: Some(payment::PaymentMethod {
            method: Some(method),
        }),
        // the documents of the predecessor know neither
        expected_total: None,
        quote_id: String::new(),
    }
}

/// Minor units of the platform's one currency.
pub(crate) fn price(minor: i32) -> PbMoney {
    let money = Money::new(i64::from(minor), Currency::EUR);
    let (units, nanos) = money.to_units_and_nanos();
    PbMoney {
        currency_code: Currency::EUR.as_str().to_owned(),
        units,
        nanos,
    }
}

/// A SKU for a product of this name: the suffix makes it its own.
pub(crate) fn sku(name: &str, suffix: &str) -> String {
    let mut sku = String::with_capacity(NAME_IN_SKU_MAX + 1 + suffix.len());
    for c in name.chars() {
        if sku.len() == NAME_IN_SKU_MAX {
            break;
        }
        if c.is_ascii_alphanumeric() {
            sku.push(c.to_ascii_lowercase());
        } else if !sku.is_empty() && !sku.ends_with('-') {
            sku.push('-');
        }
    }
    if !sku.is_empty() && !sku.ends_with('-') {
        sku.push('-');
    }
    sku.push_str(suffix);
    sku
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sku_is_of_the_name_and_of_a_suffix() {
        let check = |name: &str, expect: &str| assert_eq!(sku(name, "0a1b"), expect, "{name}");
        check("Blue mug", "blue-mug-0a1b");
        check("  Ärmel & Kragen!  ", "rmel-kragen-0a1b");
        check("茶碗", "0a1b");
        check(
            &"x".repeat(200),
            &format!("{}-0a1b", "x".repeat(NAME_IN_SKU_MAX)),
        );
        let longest = sku(&"y ".repeat(100), &"f".repeat(12));
        assert!(longest.len() <= 64, "{longest}");
    }

    #[test]
    fn minor_units_go_there_and_back_and_never_wrap() {
        for amount in [0, 1, 99, 100, 1_290, -5, i32::MAX, i32::MIN] {
            assert_eq!(minor("price", Some(&price(amount))), Ok(amount));
        }
        let amount = |units, nanos| PbMoney {
            currency_code: "EUR".to_owned(),
            units,
            nanos,
        };
        assert_eq!(
            minor("price", Some(&amount(21_474_836, 470_000_000))),
            Ok(i32::MAX)
        );
        for above in [
            amount(21_474_836, 480_000_000),
            amount(42_949_672, 960_000_000),
            amount(i64::MAX, 0),
        ] {
            let error = minor("price", Some(&above)).unwrap_err();
            let reason = error.extensions.unwrap().get("reason").cloned();
            assert_eq!(reason, Some("INT_OUT_OF_RANGE".into()));
        }
    }
}
