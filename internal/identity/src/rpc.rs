//! Handlers: convert, call `app` or read, convert.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use palinode_auth::{Caller, Grant, Role};
use palinode_pb::google::api::HttpBody;
use palinode_pb::identity::v1 as pb;
use palinode_pb::identity::v1::identity_service_server::IdentityService;
use palinode_rpc::{Details, caller, created, idempotency_key, status_with, trace_context};
use palinode_service::Secret;
use palinode_values::{SessionId, UserId};
use sha2::{Digest, Sha256};
use tonic::{Request, Response, Status};

use crate::app::{
    Asked, Desk, Error, Key, Registered, change_password, delete_user, refresh_session,
    register_user, set_roles, sign_in, sign_out,
};
use crate::config::SERVICE_LIFETIME;
use crate::convert;
use crate::domain::{Account, Reason};
use crate::store::accounts;

/// Users and sessions, for callers.
#[derive(Debug)]
pub(crate) struct Handlers {
    pub(crate) desk: Desk,
    /// What services have in common; `None`: they get no tokens.
    pub(crate) service_secret: Option<Secret>,
}

fn session(caller: &Caller) -> Option<SessionId> {
    caller.principal.session.map(SessionId)
}

fn failed(error: impl Into<Error>) -> Status {
    let error = error.into();
    let details = Details {
        retry_after: error.retry_after(),
        ..Details::default()
    };
    status_with(&error, details)
}

impl Handlers {
    async fn account(&self, user: &UserId) -> Result<Account, Error> {
        let found = accounts::find(self.desk.db.pool(), user).await?;
        let found = found.ok_or(Error::Refused(Reason::UserNotFound))?;
        Ok(found.account)
    }

    fn service_token(&self, request: &pb::CreateServiceTokenRequest) -> Result<String, Error> {
        let subject = convert::service(&request.service)?;
        let wrong = Error::Refused(Reason::WrongCredentials);
        let Some(secret) = &self.service_secret else {
            return Err(wrong);
        };
        // digests have one length, so that not even that of the secret is told
        let (given, ours) = (
            Sha256::digest(&request.secret),
            Sha256::digest(secret.expose()),
        );
        if verify_slices_are_equal(&given, &ours).is_err() {
            return Err(wrong);
        }
        let grant = Grant {
            subject,
            roles: vec![Role::Service],
            session: None,
            lifetime: SERVICE_LIFETIME,
        };
        self.desk.ring.sign(&grant, self.desk.clock.now())
    }
}

#[tonic::async_trait]
impl IdentityService for Handlers {
    async fn register_user(
        &self,
        request: Request<pb::RegisterUserRequest>,
    ) -> Result<Response<pb::RegisterUserResponse>, Status> {
        let key = idempotency_key(&request)?.map(|key| Key {
            key,
            fingerprint: convert::fingerprint(request.get_ref()),
        });
        let trace = trace_context(&request);
        let asked = Asked {
            registration: convert::registration(request.into_inner())?,
            key,
            trace,
        };
        let registered = register_user(&self.desk, &asked).await.map_err(failed)?;
        let answer = |account| pb::RegisterUserResponse {
            user: Some(convert::user(account)),
        };
        Ok(match registered {
            Registered::New(account) => {
                let location = format!("/v1/users/{}", account.id);
                created(answer(account), &location)
            }
            Registered::Before(account) => Response::new(answer(account)),
        })
    }

    async fn get_current_user(
        &self,
        request: Request<pb::GetCurrentUserRequest>,
    ) -> Result<Response<pb::GetCurrentUserResponse>, Status> {
        let caller = caller(&request)?;
        let account = self.account(caller.user()).await.map_err(failed)?;
        let user = Some(convert::user(account));
        Ok(Response::new(pb::GetCurrentUserResponse { user }))
    }

    async fn get_user(
        &self,
        request: Request<pb::GetUserRequest>,
    ) -> Result<Response<pb::GetUserResponse>, Status> {
        let caller = caller(&request)?;
        let user = convert::user_id("user_id", &request.get_ref().user_id)?;
        if !caller.may_see(&user) {
            return Err(failed(Error::Refused(Reason::UserNotFound)));
        }
        let account = self.account(&user).await.map_err(failed)?;
        let user = Some(convert::user(account));
        Ok(Response::new(pb::GetUserResponse { user }))
    }

    async fn list_users(
        &self,
        request: Request<pb::ListUsersRequest>,
    ) -> Result<Response<pb::ListUsersResponse>, Status> {
        let (after, size) = convert::page(request.get_ref())?;
        let accounts = accounts::list(&self.desk.db, after.as_ref(), i64::from(size));
        let accounts = accounts.await.map_err(failed)?;
        Ok(Response::new(convert::users(accounts, size)))
    }

    async fn set_user_roles(
        &self,
        request: Request<pb::SetUserRolesRequest>,
    ) -> Result<Response<pb::SetUserRolesResponse>, Status> {
        let caller = caller(&request)?;
        let (user, roles) = convert::roles(request.get_ref())?;
        let account = set_roles(&self.desk, &user, &roles).await.map_err(failed)?;
        tracing::info!(%user, ?roles, by = %caller.user(), "roles were set");
        let user = Some(convert::user(account));
        Ok(Response::new(pb::SetUserRolesResponse { user }))
    }

    async fn change_password(
        &self,
        request: Request<pb::ChangePasswordRequest>,
    ) -> Result<Response<pb::ChangePasswordResponse>, Status> {
        let caller = caller(&request)?;
        let (current, new) = convert::passwords(request.into_inner())?;
        change_password(&self.desk, caller.user(), session(&caller), &current, &new)
            .await
            .map_err(failed)?;
        Ok(Response::new(pb::ChangePasswordResponse {}))
    }

    async fn delete_current_user(
        &self,
        request: Request<pb::DeleteCurrentUserRequest>,
    ) -> Result<Response<pb::DeleteCurrentUserResponse>, Status> {
        let (caller, trace) = (caller(&request)?, trace_context(&request));
        delete_user(&self.desk, caller.user(), &trace)
            .await
            .map_err(failed)?;
        Ok(Response::new(pb::DeleteCurrentUserResponse {}))
    }

    async fn create_session(
        &self,
        request: Request<pb::CreateSessionRequest>,
    ) -> Result<Response<pb::CreateSessionResponse>, Status> {
        let (login, password) = convert::credentials(request.into_inner())?;
        let signed_in = sign_in(&self.desk, &login, &password).await;
        let session = Some(convert::session(signed_in.map_err(failed)?));
        Ok(Response::new(pb::CreateSessionResponse { session }))
    }

    async fn refresh_session(
        &self,
        request: Request<pb::RefreshSessionRequest>,
    ) -> Result<Response<pb::RefreshSessionResponse>, Status> {
        let refreshed = refresh_session(&self.desk, &request.get_ref().refresh_token).await;
        let session = Some(convert::session(refreshed.map_err(failed)?));
        Ok(Response::new(pb::RefreshSessionResponse { session }))
    }

    async fn delete_current_session(
        &self,
        request: Request<pb::DeleteCurrentSessionRequest>,
    ) -> Result<Response<pb::DeleteCurrentSessionResponse>, Status> {
        if let Some(session) = session(&caller(&request)?) {
            sign_out(&self.desk, session).await.map_err(failed)?;
        }
        Ok(Response::new(pb::DeleteCurrentSessionResponse {}))
    }

    async fn get_keys(
        &self,
        _request: Request<pb::GetKeysRequest>,
    ) -> Result<Response<HttpBody>, Status> {
        Ok(Response::new(convert::key_set(self.desk.ring.publish())))
    }

    async fn create_service_token(
        &self,
        request: Request<pb::CreateServiceTokenRequest>,
    ) -> Result<Response<pb::CreateServiceTokenResponse>, Status> {
        let token = self.service_token(request.get_ref()).map_err(failed)?;
        Ok(Response::new(convert::service_token(token)))
    }
}
