use palinode_db::Db;
use palinode_pb::payment::v1 as pb;
use palinode_pb::payment::v1::payment_service_server::PaymentService;
use palinode_rpc::{caller, idempotency_key, status};
use palinode_values::Clock;
use tonic::{Request, Response, Status};

use crate::app::{Error, credit_wallet};
use crate::convert;
use crate::domain::{Reason, Wallet};
use crate::store::{payments, wallets};

/// Wallets and payments, for callers.
#[derive(Debug)]
pub(crate) struct Handlers {
    db: Db,
    clock: Clock,
}

impl Handlers {
    pub(crate) fn new(db: Db, clock: Clock) -> Self {
        Self { db, clock }
    }
}

#[tonic::async_trait]
impl PaymentService for Handlers {
    async fn get_wallet(
        &self,
        request: Request<pb::GetWalletRequest>,
    ) -> Result<Response<pb::GetWalletResponse>, Status> {
        let caller = caller(&request)?;
        let user = convert::user_id(&request.into_inner().user_id)?;
        let user = user.unwrap_or_else(|| caller.user().clone());
        let found = wallets::find(self.db.pool(), &user)
            .await
            .map_err(|e| status(&e))?;
        let Some(Wallet::Open(balance)) = found.filter(|_| caller.may_see(&user)) else {
            let words = format!("{user} has no wallet");
            return Err(status(&Error::refused(Reason::NoWallet, words)));
        };
        let wallet = Some(convert::wallet(&user, balance));
        Ok(Response::new(pb::GetWalletResponse { wallet }))
    }

    async fn credit_wallet(
        &self,
        request: Request<pb::CreditWalletRequest>,
    ) -> Result<Response<pb::CreditWalletResponse>, Status> {
        let key = idempotency_key(&request)?;
        let (user, amount) = convert::credit(request.into_inner())?;
        let balance = credit_wallet(&self.db, &self.clock, &user, amount, key.as_deref())
            .await
            .map_err(|e| status(&e))?;
        let wallet = Some(convert::wallet(&user, balance));
        Ok(Response::new(pb::CreditWalletResponse { wallet }))
    }

    async fn get_payment(
        &self,
        request: Request<pb::GetPaymentRequest>,
    ) -> Result<Response<pb::GetPaymentResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::payment_id(&request.into_inner().payment_id)?;
        let found = payments::find(&self.db, id).await.map_err(|e| status(&e))?;
        let found = found.filter(|(payment, _)| caller.may_see(&payment.user_id));
        let Some((payment, created_at)) = found else {
            let words = format!("there is no payment {id}");
            return Err(status(&Error::refused(Reason::PaymentNotFound, words)));
        };
        let payment = Some(convert::payment(&payment, created_at));
        Ok(Response::new(pb::GetPaymentResponse { payment }))
    }
}
