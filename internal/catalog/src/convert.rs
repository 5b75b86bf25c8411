//! Every conversion between the contracts and the domain.

mod events;
mod paging;

use std::collections::HashSet;

use palinode_pb::catalog::v1 as pb;
use palinode_pb::google::r#type::Money as PbMoney;
use palinode_rpc::Violations;
use palinode_values::{Currency, Money, ProductId, Sku, Timestamp};
use prost::Message;
use sha2::{Digest, Sha256};

use crate::domain::{Category, Change, Draft, PRICE_MINOR_MAX, Product};

pub(crate) use events::{product_created, product_deleted, product_updated};
pub(crate) use paging::{categories, categories_page, listing, page};

/// Ids and SKUs that are asked for at once.
const NAMED_MAX: usize = 200;

pub(crate) fn product_id(text: &str) -> Result<ProductId, Violations> {
    let id = text.parse::<ProductId>();
    id.map_err(|e| Violations::of("product_id", "MALFORMED", format!("must be {}", e.rule)))
}

/// The price of a request, if what is given is one.
fn price(wrong: &mut Violations, message: &PbMoney) -> Option<Money> {
    let read = message
        .currency_code
        .parse()
        .and_then(|currency| Money::from_units_and_nanos(message.units, message.nanos, currency));
    let price = match read {
        Ok(price) => price,
        Err(error) => {
            wrong.add("price", "INVALID_MONEY", format!("is malformed: {error}"));
            return None;
        }
    };
    if price.currency != Currency::EUR {
        let field = "price.currency_code";
        wrong.add(field, "UNSUPPORTED_CURRENCY", "must be EUR");
    }
    if !(1..=PRICE_MINOR_MAX).contains(&price.minor) {
        wrong.add("price", "OUT_OF_RANGE", "must be 0.01 to 10000000000.00");
    }
    Some(price)
}

fn optional(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// Reads what is to be created; the proto has looked at its texts.
pub(crate) fn draft(message: pb::CreateProductRequest) -> Result<Draft, Violations> {
    let mut wrong = Violations::new();
    let sku = message.sku.parse::<Sku>();
    let sku = sku.map_err(|e| wrong.add("sku", "MALFORMED", format!("must be {}", e.rule)));
    let price = price(&mut wrong, &message.price.unwrap_or_default());
    match (sku, price) {
        (Ok(sku), Some(price)) if wrong.is_empty() => Ok(Draft {
            sku,
            name: message.name,
            description: message.description,
            category: optional(message.category_id),
            price,
            picture_url: message.picture_url,
            initial_stock: message.initial_stock,
        }),
        _ => Err(wrong),
    }
}

/// What a creation is told by from others with the same idempotency key.
pub(crate) fn fingerprint(message: &pb::CreateProductRequest) -> [u8; 32] {
    Sha256::digest(message.encode_to_vec()).into()
}

/// Reads a change, and the revision that it is meant for.
pub(crate) fn change(
    message: pb::UpdateProductRequest,
) -> Result<(ProductId, Change, Option<i64>), Violations> {
    let mut wrong = Violations::new();
    let id = message.product_id.parse::<ProductId>();
    let id = id.map_err(|e| wrong.add("product_id", "MALFORMED", format!("must be {}", e.rule)));
    let price = message.price.and_then(|money| price(&mut wrong, &money));
    let change = Change {
        name: message.name,
        description: message.description,
        category: message.category_id.map(optional),
        price,
        picture_url: message.picture_url,
    };
    let revision = (message.revision > 0).then_some(message.revision);
    match id {
        Ok(id) if wrong.is_empty() => Ok((id, change, revision)),
        _ => Err(wrong),
    }
}

/// Ids and SKUs that are asked for.
pub(crate) fn named(
    message: &pb::BatchGetProductsRequest,
) -> Result<(Vec<ProductId>, Vec<Sku>), Violations> {
    let mut wrong = Violations::new();
    let (mut ids, mut skus) = (Vec::new(), Vec::new());
    for (position, text) in message.product_ids.iter().enumerate() {
        let field = format!("product_ids[{position}]");
        match text.parse::<ProductId>() {
            Ok(id) => ids.push(id),
            Err(e) => wrong.add(field, "MALFORMED", format!("must be {}", e.rule)),
        }
    }
    for (position, text) in message.skus.iter().enumerate() {
        let field = format!("skus[{position}]");
        match text.parse::<Sku>() {
            Ok(sku) => skus.push(sku),
            Err(e) => wrong.add(field, "MALFORMED", format!("must be {}", e.rule)),
        }
    }
    let all = message.product_ids.len() + message.skus.len();
    if all == 0 {
        wrong.add("product_ids", "REQUIRED", "must be given, or skus");
    } else if all > NAMED_MAX {
        let words = "must be at most 200 together with skus";
        wrong.add("product_ids", "TOO_MANY", words);
    }
    wrong.into_result()?;
    Ok((ids, skus))
}

/// Each product once, where it was named first: ids, then SKUs.
pub(crate) fn as_named(ids: &[ProductId], skus: &[Sku], found: &[Product]) -> Vec<pb::Product> {
    let by_id = ids.iter().map(|id| found.iter().find(|p| p.id == *id));
    let by_sku = skus.iter().map(|sku| found.iter().find(|p| p.sku == *sku));
    let mut told = HashSet::new();
    by_id
        .chain(by_sku)
        .flatten()
        .filter(|found| told.insert(found.id))
        .map(product)
        .collect()
}

pub(crate) fn product(product: &Product) -> pb::Product {
    pb::Product {
        product_id: product.id.to_string(),
        sku: product.sku.to_string(),
        name: product.name.clone(),
        description: product.description.clone(),
        category_id: product.category.clone().unwrap_or_default(),
        price: Some(money(product.price)),
        picture_url: product.picture_url.clone(),
        revision: product.revision,
        created_at: Some(timestamp(product.created_at)),
        updated_at: Some(timestamp(product.updated_at)),
    }
}

pub(crate) fn category_of(message: pb::CreateCategoryRequest) -> Category {
    Category {
        id: message.category_id,
        name: message.name,
    }
}

pub(crate) fn category(category: Category) -> pb::Category {
    pb::Category {
        category_id: category.id,
        name: category.name,
    }
}

fn money(amount: Money) -> PbMoney {
    let (units, nanos) = amount.to_units_and_nanos();
    PbMoney {
        currency_code: amount.currency.to_string(),
        units,
        nanos,
    }
}

fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: at.timestamp(),
        nanos: i32::try_from(at.timestamp_subsec_nanos()).unwrap_or_default(),
    }
}
