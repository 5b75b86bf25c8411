//! What the graph is made of. Nothing in it is null; prices are minor units.

use std::collections::HashMap;

use async_graphql::{ComplexObject, Context, Error, ID, InputObject, SimpleObject};

use super::errors;
use super::loaders::{self, BySku, StockOf};

/// A number that may not fit into an Int.
pub(crate) type Int = Result<i32, Error>;

/// Somebody who can sign in.
#[derive(SimpleObject)]
#[graphql(rename_fields = "snake_case")]
pub(crate) struct User {
    pub(crate) id: ID,
    pub(crate) email: String,
    pub(crate) username: String,
    /// 1: an administrator; 0: everybody else.
    pub(crate) r#type: i32,
}

/// Something that can be ordered.
#[derive(SimpleObject)]
#[graphql(complex, rename_fields = "snake_case")]
pub(crate) struct Product {
    #[graphql(skip)]
    pub(crate) sku: String,
    /// Pieces that can be ordered, where that is known: of a list it is asked for with the list, and a product that
    /// was created now has what it begins with, of which inventory hears later.
    #[graphql(skip)]
    pub(crate) known_stock: Option<i64>,
    pub(crate) id: ID,
    pub(crate) name: String,
    pub(crate) description: String,
    /// Of one piece, in minor units.
    pub(crate) price: Int,
}

#[ComplexObject(rename_fields = "snake_case")]
impl Product {
    /// Pieces that can be ordered now.
    async fn stock(&self, ctx: &Context<'_>) -> Int {
        let stock = match self.known_stock {
            Some(stock) => stock,
            None => {
                let stock = loaders::of(ctx).load_one(StockOf(self.sku.clone()));
                stock.await.map_err(errors::from)?.unwrap_or_default()
            }
        };
        errors::int("stock", stock)
    }
}

/// An order, as it is listed.
#[derive(SimpleObject)]
#[graphql(rename_fields = "snake_case")]
pub(crate) struct AllOrdersOrder {
    pub(crate) id: ID,
    pub(crate) user_id: ID,
    /// In minor units.
    pub(crate) price_total: Int,
    /// Pieces of all products.
    pub(crate) quantity: Int,
}

/// An order.
#[derive(SimpleObject)]
#[graphql(complex, rename_fields = "snake_case")]
pub(crate) struct Order {
    pub(crate) id: ID,
    pub(crate) user_id: ID,
    /// In minor units.
    pub(crate) price_total: Int,
    /// Pieces of all products.
    pub(crate) quantity: Int,
    #[graphql(skip)]
    pub(crate) lines: Vec<Line>,
}

#[ComplexObject(rename_fields = "snake_case")]
impl Order {
    async fn order_products(&self, ctx: &Context<'_>) -> Result<Vec<OrderProduct>, Error> {
        let mut products = HashMap::new();
        if ctx.look_ahead().field("product_id").exists() {
            let skus = self.lines.iter().map(|line| BySku(line.sku.clone()));
            products = loaders::of(ctx)
                .load_many(skus)
                .await
                .map_err(errors::from)?;
        }
        let line = |line: &Line| {
            let product = products.get(&BySku(line.sku.clone()));
            OrderProduct {
                product_id: ID(product.map_or_else(String::new, |p| p.product_id.clone())),
                quantity: line.quantity,
                price: line.price.clone(),
            }
        };
        Ok(self.lines.iter().map(line).collect())
    }
}

/// What was ordered of a SKU.
pub(crate) struct Line {
    pub(crate) sku: String,
    pub(crate) quantity: i32,
    pub(crate) price: Int,
}

/// What was ordered, as sold.
#[derive(SimpleObject)]
#[graphql(rename_fields = "snake_case")]
pub(crate) struct OrderProduct {
    /// Empty when the product has been deleted since.
    pub(crate) product_id: ID,
    pub(crate) quantity: i32,
    /// Of one piece, in minor units.
    pub(crate) price: Int,
}

/// What a signed-in user shows with every request, as `Authorization: Bearer`.
#[derive(SimpleObject)]
pub(crate) struct Token {
    pub(crate) token: String,
}

/// What became of a change to the inventory.
#[derive(SimpleObject)]
pub(crate) struct UpdateInventoryResponse {
    pub(crate) success: bool,
}

/// Whoever registers is a customer.
#[derive(InputObject)]
#[graphql(rename_fields = "snake_case")]
pub(crate) struct NewUser {
    pub(crate) email: String,
    /// 3 to 32 characters of a-z 0-9 . _ -
    pub(crate) username: String,
    /// 10 to 128 characters.
    pub(crate) password: String,
    /// 0 and nothing else: nobody gets a role by asking.
    pub(crate) r#type: i32,
}

#[derive(InputObject)]
#[graphql(rename_fields = "snake_case")]
pub(crate) struct Login {
    /// E-mail address or user name.
    pub(crate) email: String,
    pub(crate) password: String,
}

#[derive(InputObject)]
#[graphql(rename_fields = "snake_case")]
pub(crate) struct CreateProduct {
    pub(crate) name: String,
    pub(crate) description: String,
    /// Of one piece, in minor units.
    pub(crate) price: i32,
    /// Pieces that its stock begins with.
    pub(crate) stock: i32,
}

#[derive(InputObject)]
#[graphql(rename_fields = "snake_case")]
pub(crate) struct UpdateInventory {
    /// Of the product.
    pub(crate) id: ID,
    /// 1: add pieces; 2: take pieces away; 3: delete the product.
    pub(crate) r#type: i32,
    /// Pieces, 1 at least; not looked at by 3.
    pub(crate) number: i32,
}

#[derive(InputObject)]
#[graphql(rename_fields = "snake_case")]
pub(crate) struct PlaceOrder {
    /// 1 to 100, each product once.
    pub(crate) order_products: Vec<PlaceOrderProduct>,
    /// Where it is sent to. Without it: to the counter, where it is collected.
    pub(crate) address: Option<Address>,
    /// How it is paid. Without it: from the wallet.
    pub(crate) payment_method: Option<PaymentMethod>,
}

#[derive(InputObject)]
#[graphql(rename_fields = "snake_case")]
pub(crate) struct PlaceOrderProduct {
    pub(crate) product_id: ID,
    pub(crate) quantity: i32,
}

#[derive(InputObject)]
#[graphql(name = "AddressInput", rename_fields = "snake_case")]
pub(crate) struct Address {
    pub(crate) name: String,
    pub(crate) street: String,
    pub(crate) postal_code: String,
    pub(crate) city: String,
    /// ISO 3166-1 alpha-2, such as DE.
    pub(crate) country: String,
}

#[derive(InputObject)]
#[graphql(name = "PaymentMethodInput", rename_fields = "snake_case")]
pub(crate) struct PaymentMethod {
    /// The card processor's token; never a card number. Without it: from the wallet.
    pub(crate) card_token: Option<String>,
}
