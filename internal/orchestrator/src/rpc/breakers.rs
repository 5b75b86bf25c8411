use std::collections::{BTreeSet, HashMap};

use palinode_pb::saga::v1::{
    Breaker as PbBreaker, ListBreakersResponse, SetBreakerRequest, SetBreakerResponse,
};
use palinode_rpc::Violations;
use palinode_saga::Direction;
use palinode_values::UserId;

use super::{Refused, Sagas};
use crate::convert;
use crate::runner::breaker::Breaker;
use crate::store::breaker as store;

impl Sagas {
    pub(super) async fn breakers(&self) -> Result<ListBreakersResponse, Refused> {
        let rows = store::all(&self.engine.db).await?;
        let held = store::held_counts(&self.engine.db).await?;
        let held: HashMap<String, i64> = held.into_iter().collect();
        let of = |row: &store::BreakerRow| {
            let held = held.get(&row.breaker.to_string());
            convert::breaker(row, held.copied().unwrap_or_default())
        };
        Ok(ListBreakersResponse {
            breakers: rows.iter().map(of).collect(),
        })
    }

    pub(super) async fn set(
        &self,
        request: SetBreakerRequest,
        principal: &UserId,
    ) -> Result<SetBreakerResponse, Refused> {
        let breakers = self.wanted(&request).map_err(Refused::Invalid)?;
        let by = convert::reason_and_principal(&request.reason, principal);
        let by = by.map_err(Refused::Invalid)?;
        for breaker in &breakers {
            let (db, open) = (&self.engine.db, request.open);
            store::set(db, breaker, open, &by.reason, &by.principal).await?;
            let by = &by.principal;
            tracing::warn!(%breaker, open, by, "a breaker was set by hand");
        }
        self.engine.set.ring();
        let is_one = |of: &PbBreaker| {
            breakers.iter().any(|breaker| {
                (of.participant.as_str(), of.direction.as_str())
                    == (breaker.participant.as_str(), breaker.direction.as_str())
            })
        };
        let mut breakers = self.breakers().await?.breakers;
        breakers.retain(is_one);
        Ok(SetBreakerResponse { breakers })
    }

    fn wanted(&self, request: &SetBreakerRequest) -> Result<Vec<Breaker>, Violations> {
        let plans = self.engine.registry.all();
        let participants: BTreeSet<&str> = plans
            .iter()
            .flat_map(|plan| plan.plan.steps())
            .map(|step| step.participant.as_str())
            .collect();
        if !participants.contains(request.participant.as_str()) {
            let names: Vec<&str> = participants.into_iter().collect();
            let rule = format!("must be one of {}", names.join(", "));
            return Err(Violations::of("participant", "UNKNOWN_PARTICIPANT", rule));
        }
        let directions = match request.direction.as_str() {
            "" => vec![Direction::Backward, Direction::Forward],
            word => vec![word.parse().map_err(|_| {
                let rule = "must be forward or backward; empty for both";
                Violations::of("direction", "INVALID_VALUE", rule)
            })?],
        };
        let breaker = |direction| Breaker {
            participant: request.participant.clone(),
            direction,
        };
        Ok(directions.into_iter().map(breaker).collect())
    }
}
