//! The operations.

use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::{Context, EmptySubscription, Error, ID, Object, Schema};
use palinode_pb::catalog::v1::{
    CreateProductRequest, DeleteProductRequest, GetProductRequest, ListProductsRequest,
    Product as CatalogProduct,
};
use palinode_pb::identity::v1::{
    CreateSessionRequest, GetUserRequest, ListUsersRequest, RegisterUserRequest,
};
use palinode_pb::inventory::v1::AdjustStockRequest;
use palinode_pb::order::v1 as order;
use palinode_pb::order::v1::{GetOrderRequest, ListOrdersRequest, OrderStatus};
use palinode_transcode::Problem;
use palinode_values::{ErrorCode, EventId};
use uuid::Uuid;

use super::loaders::{self, ById, StockOf};
use super::types::{
    AllOrdersOrder, CreateProduct, Login, NewUser, Order, PlaceOrder, PlaceOrderProduct, Product,
    Token, UpdateInventory, UpdateInventoryResponse, User,
};
use super::{convert, errors};
use crate::clients::Calls;
use crate::http::problem;

/// Entries of a page that a service is asked for.
const PAGE: i32 = 200;
/// Pages of a list: what is behind them REST tells.
const PAGES_MAX: usize = 5;

/// Directives of one field: there are two.
const DIRECTIVES_MAX: usize = 4;

/// The whole graph.
pub(crate) type Graph = Schema<Query, Mutation, EmptySubscription>;

pub(crate) fn schema() -> Graph {
    Schema::build(Query, Mutation, EmptySubscription)
        .limit_directives(DIRECTIVES_MAX)
        .finish()
}

/// What an answer tells beside its data.
#[derive(Debug, Default)]
pub(crate) struct Notes(Mutex<Noted>);

/// See [`Notes`].
#[derive(Debug, Default)]
pub(crate) struct Noted {
    /// Lists that were cut off, by their names in the answer.
    pub(crate) truncated: Vec<String>,
    /// Orders that were placed, and are not decided yet.
    pub(crate) pending: Vec<String>,
}

impl Notes {
    fn add(&self, note: impl FnOnce(&mut Noted)) {
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn take(&self) -> Noted {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn calls<'c>(ctx: &Context<'c>) -> &'c Calls {
    ctx.data_unchecked::<Arc<Calls>>()
}

/// What a service has left out, although it answered.
fn missing<T>(part: Option<T>) -> Result<T, Error> {
    part.ok_or_else(|| {
        tracing::error!("a service answered without what it was asked for");
        errors::from(problem(ErrorCode::Internal, "an internal error occurred"))
    })
}

/// The entries of all pages, as far as there are not too many; `page` makes the next one of its token.
async fn all<T, Page>(ctx: &Context<'_>, page: impl Fn(String) -> Page) -> Result<Vec<T>, Error>
where
    Page: Future<Output = Result<(Vec<T>, String), Problem>>,
{
    let (mut entries, mut token) = (Vec::new(), String::new());
    for _ in 0..PAGES_MAX {
        let (page, next) = page(token).await.map_err(errors::from)?;
        entries.extend(page);
        token = next;
        if token.is_empty() {
            return Ok(entries);
        }
    }
    let name = ctx.field().alias().unwrap_or(ctx.field().name()).to_owned();
    ctx.data_unchecked::<Arc<Notes>>()
        .add(|noted| noted.truncated.push(name));
    Ok(entries)
}

async fn product(calls: &Calls, id: &ID) -> Result<CatalogProduct, Error> {
    let product_id = id.to_string();
    let answer = calls.get_product(GetProductRequest { product_id }).await;
    missing(answer.map_err(errors::from)?.product)
}

pub(crate) struct Query;

#[Object(rename_fields = "snake_case", rename_args = "snake_case")]
impl Query {
    /// All users, by id: the first 1,000. For administrators.
    async fn users(&self, ctx: &Context<'_>) -> Result<Vec<User>, Error> {
        let users = all(ctx, async |page_token| {
            let page_size = PAGE;
            let request = ListUsersRequest {
                page_size,
                page_token,
            };
            let page = calls(ctx).list_users(request).await?;
            Ok((page.users, page.next_page_token))
        });
        Ok(users.await?.into_iter().map(convert::user).collect())
    }

    /// A user; who is no administrator sees himself only.
    async fn user(&self, ctx: &Context<'_>, id: ID) -> Result<User, Error> {
        let request = GetUserRequest { user_id: id.0 };
        let answer = calls(ctx).get_user(request).await.map_err(errors::from)?;
        missing(answer.user).map(convert::user)
    }

    /// All products, by name: the first 1,000.
    async fn products(&self, ctx: &Context<'_>) -> Result<Vec<Product>, Error> {
        let with_stock = ctx.look_ahead().field("stock").exists();
        all(ctx, async |page_token| {
            let request = ListProductsRequest {
                page_size: PAGE,
                page_token,
                ..ListProductsRequest::default()
            };
            let page = calls(ctx).list_products(request).await?;
            let products = page.products.into_iter().map(convert::product);
            let mut products: Vec<Product> = products.collect();
            if with_stock {
                let keys = products.iter().map(|product| StockOf(product.sku.clone()));
                let stock = loaders::of(ctx).load_many(keys).await?;
                for product in &mut products {
                    let found = stock.get(&StockOf(product.sku.clone()));
                    product.known_stock = Some(found.copied().unwrap_or_default());
                }
            }
            Ok((products, page.next_page_token))
        })
        .await
    }

    /// A product.
    async fn product(&self, ctx: &Context<'_>, id: ID) -> Result<Product, Error> {
        product(calls(ctx), &id).await.map(convert::product)
    }

    /// Orders, newest first: the first 1,000 of one's own, or for staff of everybody's.
    async fn orders(&self, ctx: &Context<'_>) -> Result<Vec<AllOrdersOrder>, Error> {
        let orders = all(ctx, async |page_token| {
            let request = ListOrdersRequest {
                page_size: PAGE,
                page_token,
                ..ListOrdersRequest::default()
            };
            let page = calls(ctx).list_orders(request).await?;
            Ok((page.orders, page.next_page_token))
        });
        let orders = orders.await?.into_iter();
        Ok(orders.map(convert::listed_order).collect())
    }

    /// An order: one's own, or for staff anybody's.
    async fn order(&self, ctx: &Context<'_>, id: ID) -> Result<Order, Error> {
        let request = GetOrderRequest { order_id: id.0 };
        let answer = calls(ctx).get_order(request).await.map_err(errors::from)?;
        missing(answer.order).map(convert::order)
    }
}

pub(crate) struct Mutation;

#[Object]
impl Mutation {
    /// Registers a user, who is a customer. With the same Idempotency-Key the same user is answered.
    async fn register_user(&self, ctx: &Context<'_>, input: NewUser) -> Result<User, Error> {
        if input.r#type != 0 {
            let rule =
                "must be 0: who registers is a customer, and is given roles by an administrator";
            return Err(errors::wrong("input.type", rule));
        }
        let request = RegisterUserRequest {
            email: input.email,
            user_name: input.username,
            password: input.password,
            ..RegisterUserRequest::default()
        };
        let answer = calls(ctx).register_user(request).await;
        missing(answer.map_err(errors::from)?.user).map(convert::user)
    }

    /// Signs in.
    async fn login(&self, ctx: &Context<'_>, input: Login) -> Result<Token, Error> {
        let request = CreateSessionRequest {
            login: input.email,
            password: input.password,
        };
        let answer = calls(ctx).create_session(request).await;
        let session = missing(answer.map_err(errors::from)?.session)?;
        Ok(Token {
            token: session.access_token,
        })
    }

    /// Creates a product, with the stock that it begins with. With the same Idempotency-Key the same product is
    /// answered. For administrators.
    async fn create_product(
        &self,
        ctx: &Context<'_>,
        input: CreateProduct,
    ) -> Result<Product, Error> {
        let calls = calls(ctx);
        let request = CreateProductRequest {
            sku: convert::sku(&input.name, &suffix(calls, &input.name)),
            name: input.name,
            description: input.description,
            price: Some(convert::price(input.price)),
            initial_stock: i64::from(input.stock),
            ..CreateProductRequest::default()
        };
        let answer = calls.create_product(request).await.map_err(errors::from)?;
        Ok(Product {
            known_stock: Some(i64::from(input.stock)),
            ..convert::product(missing(answer.product)?)
        })
    }

    /// Adds pieces to the stock of a product, takes some away, or deletes the product. An Idempotency-Key makes a
    /// repeat harmless. For administrators.
    async fn update_inventory(
        &self,
        ctx: &Context<'_>,
        input: UpdateInventory,
    ) -> Result<UpdateInventoryResponse, Error> {
        let done = UpdateInventoryResponse { success: true };
        let calls = calls(ctx);
        let pieces = i64::from(input.number);
        let delta = match input.r#type {
            1 => pieces,
            2 => -pieces,
            3 => {
                let product_id = input.id.0;
                let deleted = calls.delete_product(DeleteProductRequest { product_id });
                deleted.await.map_err(errors::from)?;
                return Ok(done);
            }
            _ => {
                let rule = "must be 1 (add), 2 (take away) or 3 (delete the product)";
                return Err(errors::wrong("input.type", rule));
            }
        };
        // the other way round is the other type
        if pieces < 1 {
            return Err(errors::wrong("input.number", "must be 1 at least"));
        }
        let request = AdjustStockRequest {
            sku: product(calls, &input.id).await?.sku,
            delta,
            reason: "updateInventory".to_owned(),
        };
        calls.adjust_stock(request).await.map_err(errors::from)?;
        Ok(done)
    }

    /// Places an order, and waits for its end: 20 seconds at the most, or as long as `Prefer: wait=N` says. One that
    /// is not decided by then is answered as it is, and `extensions.pending` names it. With the same Idempotency-Key
    /// the same order is answered.
    async fn place_order(&self, ctx: &Context<'_>, input: PlaceOrder) -> Result<Order, Error> {
        let lines = lines(ctx, input.order_products).await?;
        let request = convert::placed(lines, input.address, input.payment_method);
        let placed = calls(ctx).place_order(request).await;
        let placed = missing(placed.map_err(errors::from)?.order)?;
        match placed.status() {
            OrderStatus::Rejected => Err(rejected(placed)),
            OrderStatus::Pending => {
                let id = placed.order_id.clone();
                ctx.data_unchecked::<Arc<Notes>>()
                    .add(|noted| noted.pending.push(id));
                Ok(convert::order(placed))
            }
            _ => Ok(convert::order(placed)),
        }
    }
}

/// SKUs and how many of each, in the order in which they were asked for.
async fn lines(
    ctx: &Context<'_>,
    wanted: Vec<PlaceOrderProduct>,
) -> Result<Vec<(String, i32)>, Error> {
    let key = |wanted: &PlaceOrderProduct| ById(wanted.product_id.to_ascii_lowercase());
    let keys: Vec<ById> = wanted.iter().map(key).collect();
    let found = loaders::of(ctx).load_many(keys).await;
    let found = found.map_err(errors::from)?;
    let mut lines = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        let sku = match found.get(&key(&wanted)) {
            Some(product) => product.sku.clone(),
            // the catalog says itself that it has no such product
            None => product(calls(ctx), &wanted.product_id).await?.sku,
        };
        lines.push((sku, wanted.quantity));
    }
    Ok(lines)
}

/// An order that its saga has taken back.
fn rejected(order: order::Order) -> Error {
    let words = match order.reason_detail.as_str() {
        "" => "the order was rejected".to_owned(),
        detail => detail.to_owned(),
    };
    let mut problem = problem(ErrorCode::Refused, words).with_reason(&order.reason);
    let ids = [("order_id", order.order_id), ("saga_id", order.saga_id)];
    let ids = ids.map(|(name, id)| (name.to_owned(), id));
    problem.metadata.extend(ids);
    errors::from(problem)
}

/// What makes the SKU of a product its own; the same for a request that is repeated.
fn suffix(calls: &Calls, name: &str) -> String {
    let id = match calls.idempotency_key() {
        Some(key) => Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{key}/{name}").as_bytes()),
        None => EventId::new(calls.clock()).0,
    };
    // of an id by time, what is drawn
    id.simple().to_string().split_off(20)
}
