//! What many places of one answer ask for, in one call.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::Context;
use async_graphql::dataloader::{DataLoader, Loader};
use palinode_pb::catalog::v1::{BatchGetProductsRequest, Product};
use palinode_pb::inventory::v1::ListStockRequest;
use palinode_transcode::Problem;
use tokio_util::task::TaskTracker;

use crate::clients::Calls;

/// Keys that one call may name.
const BATCH_MAX: usize = 200;

/// Collects the keys of one request.
pub(crate) struct Batches(Arc<Calls>);

/// The loader of a request.
pub(crate) fn of<'c>(ctx: &Context<'c>) -> &'c DataLoader<Batches> {
    ctx.data_unchecked()
}

/// A loader for the calls of one request, which it does not outlive by more than they last.
pub(crate) fn new(calls: Arc<Calls>) -> DataLoader<Batches> {
    let tasks = TaskTracker::new();
    let spawn = move |task| tasks.spawn(task);
    DataLoader::new(Batches(calls), spawn).max_batch_size(BATCH_MAX)
}

/// How many pieces of a SKU can be ordered; of an unknown one: nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct StockOf(pub(crate) String);

/// The product of a SKU.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct BySku(pub(crate) String);

/// The product of an id, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ById(pub(crate) String);

impl Loader<StockOf> for Batches {
    type Value = i64;
    type Error = Problem;

    async fn load(&self, keys: &[StockOf]) -> Result<HashMap<StockOf, i64>, Problem> {
        let mut found = HashMap::new();
        for keys in keys.chunks(BATCH_MAX) {
            let page_size = i32::try_from(keys.len()).unwrap_or_default();
            let request = ListStockRequest {
                skus: keys.iter().map(|key| key.0.clone()).collect(),
                page_size,
                page_token: String::new(),
            };
            let stock = self.0.list_stock(request).await?.stock.into_iter();
            found.extend(stock.map(|stock| (StockOf(stock.sku), stock.available)));
        }
        Ok(found)
    }
}

impl Batches {
    async fn products(&self, request: BatchGetProductsRequest) -> Result<Vec<Product>, Problem> {
        Ok(self.0.batch_get_products(request).await?.products)
    }
}

impl Loader<BySku> for Batches {
    type Value = Arc<Product>;
    type Error = Problem;

    async fn load(&self, keys: &[BySku]) -> Result<HashMap<BySku, Arc<Product>>, Problem> {
        let mut found = HashMap::new();
        for keys in keys.chunks(BATCH_MAX) {
            let request = BatchGetProductsRequest {
                skus: keys.iter().map(|key| key.0.clone()).collect(),
                ..BatchGetProductsRequest::default()
            };
            let products = self.products(request).await?.into_iter();
            found.extend(products.map(|product| (BySku(product.sku.clone()), Arc::new(product))));
        }
        Ok(found)
    }
}

impl Loader<ById> for Batches {
    type Value = Arc<Product>;
    type Error = Problem;

    async fn load(&self, keys: &[ById]) -> Result<HashMap<ById, Arc<Product>>, Problem> {
        let mut found = HashMap::new();
        for keys in keys.chunks(BATCH_MAX) {
            let request = BatchGetProductsRequest {
                product_ids: keys.iter().map(|key| key.0.clone()).collect(),
                ..BatchGetProductsRequest::default()
            };
            let products = self.products(request).await?.into_iter();
            let by_id = products.map(|product| {
                let id = product.product_id.to_ascii_lowercase();
                (ById(id), Arc::new(product))
            });
            found.extend(by_id);
        }
        Ok(found)
    }
}
