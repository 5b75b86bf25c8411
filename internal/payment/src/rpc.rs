use palinode_pb::payment::v1 as pb;
use palinode_pb::payment::v1::payment_service_server::PaymentService;
use palinode_rpc::{caller, created, idempotency_key, status, trace_context};
use palinode_values::RefundId;
use tonic::{Request, Response, Status};

use crate::app::{Desk, Error, credit_wallet, refund_payment};
use crate::convert;
use crate::domain::{Asked, Reason, Requester, Wallet};
use crate::store::{payments, refunds, wallets};

/// Wallets and payments, for callers.
#[derive(Debug)]
pub(crate) struct Handlers {
    desk: Desk,
}

impl Handlers {
    pub(crate) fn new(desk: Desk) -> Self {
        Self { desk }
    }
}

const PAGE_DEFAULT: i32 = 50;

#[tonic::async_trait]
impl PaymentService for Handlers {
    async fn get_wallet(
        &self,
        request: Request<pb::GetWalletRequest>,
    ) -> Result<Response<pb::GetWalletResponse>, Status> {
        let caller = caller(&request)?;
        let user = convert::user_id(&request.into_inner().user_id)?;
        let user = user.unwrap_or_else(|| caller.user().clone());
        let found = wallets::find(self.desk.db.pool(), &user)
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
        let (caller, key) = (caller(&request)?, idempotency_key(&request)?);
        let (user, amount) = convert::credit(request.into_inner())?;
        let key = key.as_deref().map(|key| (Some(caller.user()), key));
        let balance = credit_wallet(&self.desk.db, &self.desk.clock, &user, amount, key)
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
        let found = payments::find(&self.desk.db, id)
            .await
            .map_err(|e| status(&e))?;
        let found = found.filter(|(payment, _)| caller.may_see(&payment.user_id));
        let Some((payment, created_at)) = found else {
            let words = format!("there is no payment {id}");
            return Err(status(&Error::refused(Reason::PaymentNotFound, words)));
        };
        let payment = Some(convert::payment(&payment, created_at));
        Ok(Response::new(pb::GetPaymentResponse { payment }))
    }

    async fn refund_payment(
        &self,
        request: Request<pb::RefundPaymentRequest>,
    ) -> Result<Response<pb::RefundPaymentResponse>, Status> {
        let (caller, trace) = (caller(&request)?, trace_context(&request));
        let key = idempotency_key(&request)?;
        let pb::RefundPaymentRequest {
            payment_id,
            amount,
            reason,
        } = request.into_inner();
        let id = convert::payment_id(&payment_id)?;
        let (amount, reason) = convert::refund_asked(amount, &reason)?;
        let asked = Asked {
            // drawn once: a second run of the transaction writes the same refund
            id: RefundId::new(&self.desk.clock),
            amount,
            reason,
            requested_by: Requester::User(caller.user().clone()),
        };
        let key = key.as_deref().map(|key| (caller.user(), key));
        let kept = refund_payment(&self.desk, id, &asked, key, &trace)
            .await
            .map_err(|e| status(&e))?;
        let refund = Some(convert::refund(&kept));
        let place = format!("/v1/payments/{id}/refunds");
        Ok(created(pb::RefundPaymentResponse { refund }, &place))
    }

    async fn list_refunds(
        &self,
        request: Request<pb::ListRefundsRequest>,
    ) -> Result<Response<pb::ListRefundsResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let id = convert::payment_id(&request.payment_id)?;
        let before = convert::refund_page(&request.page_token)?;
        let found = payments::find(&self.desk.db, id)
            .await
            .map_err(|e| status(&e))?;
        if !found.is_some_and(|(payment, _)| caller.may_see(&payment.user_id)) {
            let words = format!("there is no payment {id}");
            return Err(status(&Error::refused(Reason::PaymentNotFound, words)));
        }
        let size = match request.page_size {
            0 => PAGE_DEFAULT,
            size => size,
        };
        let page = refunds::list(&self.desk.db, id, before, i64::from(size))
            .await
            .map_err(|e| status(&e))?;
        let is_full = i32::try_from(page.len()) == Ok(size);
        let last = page.last().filter(|_| is_full);
        Ok(Response::new(pb::ListRefundsResponse {
            next_page_token: last.map_or_else(String::new, |kept| kept.refund.id.to_string()),
            refunds: page.iter().map(convert::refund).collect(),
        }))
    }
}
