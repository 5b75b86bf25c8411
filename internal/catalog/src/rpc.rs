//! Handlers: convert, call `app` or read, convert.

use palinode_pb::catalog::v1 as pb;
use palinode_pb::catalog::v1::catalog_service_server::CatalogService;
use palinode_rpc::{caller, created, idempotency_key, status, trace_context};
use tonic::{Request, Response, Status};

use crate::app::{
    Asked, Created, Desk, Error, Key, Wanted, create_product, delete_product, update_product,
};
use crate::convert;
use crate::domain::Reason;
use crate::store::categories::Deleted;
use crate::store::{categories, products};

/// Products and categories, for callers.
#[derive(Debug)]
pub(crate) struct Handlers {
    pub(crate) desk: Desk,
}

fn failed(error: impl Into<Error>) -> Status {
    status(&error.into())
}

#[tonic::async_trait]
impl CatalogService for Handlers {
    async fn list_products(
        &self,
        request: Request<pb::ListProductsRequest>,
    ) -> Result<Response<pb::ListProductsResponse>, Status> {
        let listing = convert::listing(request.get_ref())?;
        // one more than asked for tells whether there is a next page
        let found = products::list(&self.desk.db, &listing, 1).await;
        let found = found.map_err(failed)?;
        let answer = convert::page(&listing, found);
        Ok(Response::new(answer))
    }

    async fn get_product(
        &self,
        request: Request<pb::GetProductRequest>,
    ) -> Result<Response<pb::GetProductResponse>, Status> {
        let id = convert::product_id(&request.get_ref().product_id)?;
        let found = products::find(self.desk.db.pool(), id).await;
        let found = found.map_err(failed)?;
        let product = found.ok_or_else(|| failed(Error::Refused(Reason::ProductNotFound)))?;
        let product = Some(convert::product(&product));
        Ok(Response::new(pb::GetProductResponse { product }))
    }

    async fn batch_get_products(
        &self,
        request: Request<pb::BatchGetProductsRequest>,
    ) -> Result<Response<pb::BatchGetProductsResponse>, Status> {
        let (ids, skus) = convert::named(request.get_ref())?;
        let found = products::find_many(&self.desk.db, &ids, &skus).await;
        let products = convert::as_named(&ids, &skus, &found.map_err(failed)?);
        Ok(Response::new(pb::BatchGetProductsResponse { products }))
    }

    async fn create_product(
        &self,
        request: Request<pb::CreateProductRequest>,
    ) -> Result<Response<pb::CreateProductResponse>, Status> {
        let user = caller(&request)?.user().clone();
        let key = idempotency_key(&request)?.map(|key| Key {
            user,
            key,
            fingerprint: convert::fingerprint(request.get_ref()),
        });
        let trace = trace_context(&request);
        let asked = Asked {
            draft: convert::draft(request.into_inner())?,
            key,
            trace,
        };
        let made = create_product(&self.desk, &asked).await.map_err(failed)?;
        let answer = |product| pb::CreateProductResponse {
            product: Some(convert::product(product)),
        };
        Ok(match &made {
            Created::New(product) => {
                let location = format!("/v1/products/{}", product.id);
                created(answer(product), &location)
            }
            Created::Before(product) => Response::new(answer(product)),
        })
    }

    async fn update_product(
        &self,
        request: Request<pb::UpdateProductRequest>,
    ) -> Result<Response<pb::UpdateProductResponse>, Status> {
        let trace = trace_context(&request);
        let (id, change, revision) = convert::change(request.into_inner())?;
        let wanted = Wanted {
            id,
            change,
            revision,
            trace,
        };
        let product = update_product(&self.desk, &wanted).await.map_err(failed)?;
        let product = Some(convert::product(&product));
        Ok(Response::new(pb::UpdateProductResponse { product }))
    }

    async fn delete_product(
        &self,
        request: Request<pb::DeleteProductRequest>,
    ) -> Result<Response<pb::DeleteProductResponse>, Status> {
        let id = convert::product_id(&request.get_ref().product_id)?;
        delete_product(&self.desk, id, &trace_context(&request))
            .await
            .map_err(failed)?;
        Ok(Response::new(pb::DeleteProductResponse {}))
    }

    async fn list_categories(
        &self,
        request: Request<pb::ListCategoriesRequest>,
    ) -> Result<Response<pb::ListCategoriesResponse>, Status> {
        let (after, size) = convert::categories_page(request.get_ref())?;
        let limit = i64::from(size) + 1;
        let found = categories::list(&self.desk.db, after.as_ref(), limit).await;
        let answer = convert::categories(found.map_err(failed)?, size);
        Ok(Response::new(answer))
    }

    async fn create_category(
        &self,
        request: Request<pb::CreateCategoryRequest>,
    ) -> Result<Response<pb::CreateCategoryResponse>, Status> {
        let asked = convert::category_of(request.into_inner());
        let category = categories::make(&self.desk.db, &asked).await;
        let category = Some(convert::category(category.map_err(failed)?));
        Ok(Response::new(pb::CreateCategoryResponse { category }))
    }

    async fn delete_category(
        &self,
        request: Request<pb::DeleteCategoryRequest>,
    ) -> Result<Response<pb::DeleteCategoryResponse>, Status> {
        let deleted = categories::delete(&self.desk.db, &request.get_ref().category_id).await;
        match deleted.map_err(failed)? {
            Deleted::Gone => Ok(Response::new(pb::DeleteCategoryResponse {})),
            Deleted::NotThere => Err(failed(Error::Refused(Reason::CategoryNotFound))),
            Deleted::InUse => Err(failed(Error::Refused(Reason::CategoryInUse))),
        }
    }
}
