use palinode_pb::saga::v1::{Bulk, CreateBulkRequest, ListBulksRequest, ListBulksResponse};
use palinode_rpc::Violations;
use palinode_values::{BulkId, UserId};

use super::{Sagas, page_size};
use crate::convert;
use crate::runner::bulk::{self, BulkError, SAGAS_MAX};
use crate::store::bulk as store;

fn id(field: &'static str, text: &str) -> Result<BulkId, BulkError> {
    let invalid = |e: palinode_values::InvalidId| Violations::of(field, "NOT_A_UUID", e.rule);
    text.parse().map_err(|e| BulkError::Invalid(invalid(e)))
}

impl Sagas {
    pub(super) async fn prepare(
        &self,
        request: CreateBulkRequest,
        principal: &UserId,
        key: Option<String>,
    ) -> Result<Bulk, BulkError> {
        // a newer release may have brought the plan that is named
        self.engine.registry.refresh(&self.engine.db).await?;
        let wanted = convert::wanted_bulk(&self.engine.registry, request, principal, key)?;
        let row = bulk::prepare(&self.engine, &wanted, SAGAS_MAX).await?;
        Ok(convert::bulk(&row, &[]))
    }

    pub(super) async fn run(&self, bulk_id: &str) -> Result<Bulk, BulkError> {
        let row = bulk::run(&self.engine, id("bulk_id", bulk_id)?).await?;
        Ok(convert::bulk(&row, &[]))
    }

    pub(super) async fn stop(&self, bulk_id: &str) -> Result<Bulk, BulkError> {
        let row = bulk::stop(&self.engine, id("bulk_id", bulk_id)?).await?;
        Ok(convert::bulk(&row, &[]))
    }

    pub(super) async fn bulk(&self, bulk_id: &str) -> Result<Bulk, BulkError> {
        let id = id("bulk_id", bulk_id)?;
        let row = store::get(self.engine.db.pool(), id).await?;
        let row = row.ok_or(BulkError::NotFound(id))?;
        let left = store::left(&self.engine.db, id).await?;
        Ok(convert::bulk(&row, &left))
    }

    pub(super) async fn bulks(
        &self,
        request: ListBulksRequest,
    ) -> Result<ListBulksResponse, BulkError> {
        let size = page_size(request.page_size);
        let before = match request.page_token.as_str() {
            "" => None,
            token => Some(id("page_token", token)?),
        };
        let rows = store::list(&self.engine.db, before, i64::from(size)).await?;
        let full = i32::try_from(rows.len()) == Ok(size);
        let next = rows.last().filter(|_| full).map(|row| row.id.to_string());
        Ok(ListBulksResponse {
            bulks: rows.iter().map(|row| convert::bulk(row, &[])).collect(),
            next_page_token: next.unwrap_or_default(),
        })
    }
}
