use palinode_pb::saga::v1::{
    AcknowledgeSagaRequest, AcknowledgeSagaResponse, Case, CaseCount, ListCasesRequest,
    ListCasesResponse,
};
use palinode_rpc::Violations;
use palinode_saga::DbTime;
use palinode_values::UserId;

use super::{Refused, Sagas, id, page_size};
use crate::convert;
use crate::store::read::{self, CaseRow};

/// What a page token is made of: a saga and the class of its case.
const BETWEEN: char = '.';

impl Sagas {
    pub(super) async fn cases(
        &self,
        request: ListCasesRequest,
    ) -> Result<ListCasesResponse, Refused> {
        let size = page_size(request.page_size);
        let before = match request.page_token.split_once(BETWEEN) {
            Some((saga, class)) => Some((id("page_token", saga)?, class)),
            None if request.page_token.is_empty() => None,
            None => {
                let rule = "must be the token of the page before";
                let wrong = Violations::of("page_token", "INVALID_VALUE", rule);
                return Err(Refused::Invalid(wrong));
            }
        };
        let class = (!request.class.is_empty()).then_some(request.class.as_str());
        let db = &self.engine.db;
        let unknown = self.unknown_plans().await?;
        let found = read::cases(db, &unknown, class, before, i64::from(size)).await?;
        let full = i32::try_from(found.page.len()) == Ok(size);
        let last = found.page.last().filter(|_| full);
        let next_page_token = last.map(|row| format!("{}{BETWEEN}{}", row.id, row.class));
        let mut cases = Vec::with_capacity(found.page.len());
        for row in &found.page {
            cases.push(self.case(row).await?);
        }
        let count = |(class, count)| CaseCount { class, count };
        let counts = found.counts.into_iter().map(count);
        Ok(ListCasesResponse {
            cases,
            next_page_token: next_page_token.unwrap_or_default(),
            counts: counts.collect(),
        })
    }

    /// Plans that this orchestrator cannot interpret, even after another look.
    async fn unknown_plans(&self) -> Result<Vec<i32>, Refused> {
        let (db, registry) = (&self.engine.db, &self.engine.registry);
        let ids = || -> Vec<i32> { registry.all().iter().map(|plan| plan.id).collect() };
        if read::unknown_plans(db, &ids()).await?.is_empty() {
            return Ok(Vec::new());
        }
        registry.refresh(db).await?;
        Ok(read::unknown_plans(db, &ids()).await?)
    }

    async fn case(&self, row: &CaseRow) -> Result<Case, Refused> {
        let plan = match &row.saga {
            Ok(saga) => self.engine.plan(saga.head.plan_id).await?,
            Err(_) => None,
        };
        let now = DbTime::from(self.engine.clock.now());
        Ok(convert::case(row, plan.as_deref(), now))
    }

    pub(super) async fn acknowledge(
        &self,
        request: AcknowledgeSagaRequest,
        principal: &UserId,
    ) -> Result<AcknowledgeSagaResponse, Refused> {
        let saga = id("saga_id", &request.saga_id)?;
        let count = read::acknowledge(&self.engine.db, saga, principal.as_str()).await?;
        Ok(AcknowledgeSagaResponse {
            count: i64::try_from(count).unwrap_or(i64::MAX),
        })
    }
}
