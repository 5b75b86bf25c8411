use std::time::Duration;

use palinode_auth::{Caller, Principal, Role, Verifier};
use palinode_db::{Area, Db};
use palinode_outbox::Doorbell;
use palinode_pb::identity::v1 as pb;
use palinode_pb::identity::v1::identity_service_server::IdentityService;
use palinode_rpc::{Authorizer, Failure};
use palinode_testkit::database::{TestDatabase, test_database};
use palinode_values::{Clock, ErrorCode};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

use crate::app::{Desk, Passwords, Ring, Upkeep};
use crate::config;
use crate::rpc::Handlers;

pub(super) const PASSWORD: &str = "correct horse";
pub(super) const SECRET: &str = "0123456789abcdef0123456789abcdef";

pub(super) struct Fixture {
    pub(super) database: TestDatabase,
    pub(super) db: Db,
    pub(super) handlers: Handlers,
}

/// As cheap as Argon2 can be.
pub(super) fn cheap() -> config::Passwords {
    config::Passwords {
        memory_kib: 8,
        passes: 1,
        at_once: 4,
        ..config::Passwords::default()
    }
}

impl Fixture {
    pub(super) async fn new() -> Self {
        let database = test_database(Area::Identity).await;
        let db = database.db().await;
        let handlers = handlers(&db, &cheap()).await;
        Self {
            database,
            db,
            handlers,
        }
    }

    /// Registers somebody of this name, with [`PASSWORD`]; his id.
    pub(super) async fn register(&self, user_name: &str) -> String {
        let request = Request::new(registration(user_name));
        let answer = self.handlers.register_user(request).await.unwrap();
        answer.into_inner().user.unwrap().user_id
    }

    pub(super) async fn sign_in(
        &self,
        login: &str,
        password: &str,
    ) -> Result<pb::Session, (ErrorCode, String)> {
        let request = credentials(login, password);
        let answer = self.handlers.create_session(request).await;
        told(answer).map(|answer| answer.session.unwrap())
    }

    pub(super) async fn refresh(&self, token: &str) -> Result<pb::Session, (ErrorCode, String)> {
        let request = Request::new(pb::RefreshSessionRequest {
            refresh_token: token.to_owned(),
        });
        let answer = self.handlers.refresh_session(request).await;
        told(answer).map(|answer| answer.session.unwrap())
    }

    /// Sets roles as an administrator does.
    pub(super) async fn set_roles(
        &self,
        user: &str,
        roles: &[Role],
    ) -> Result<pb::User, (ErrorCode, String)> {
        let message = pb::SetUserRolesRequest {
            user_id: user.to_owned(),
            roles: numbers(roles),
        };
        let answer = self.handlers.set_user_roles(by_admin(message)).await;
        told(answer).map(|answer| answer.user.unwrap())
    }

    /// Whom a token speaks for, by the keys that are published.
    pub(super) async fn verified(&self, token: &str) -> Principal {
        let verifier = Verifier::new(Clock::system());
        verifier.set_keys(&self.keys().await).unwrap();
        verifier.verify(token).unwrap()
    }

    pub(super) async fn keys(&self) -> String {
        let request = Request::new(pb::GetKeysRequest {});
        let answer = self.handlers.get_keys(request).await.unwrap().into_inner();
        assert_eq!(answer.content_type, "application/jwk-set+json");
        String::from_utf8(answer.data.to_vec()).unwrap()
    }

    /// Short names of the events in the outbox, with their keys.
    pub(super) async fn events(&self) -> Vec<String> {
        let rows = self
            .rows("SELECT headers, convert_from(key, 'UTF8') FROM outbox ORDER BY id")
            .await;
        rows.iter()
            .map(|row| {
                let headers = String::from_utf8_lossy(row.get(0)).into_owned();
                let known = ["UserRegistered", "UserDeleted"];
                let kind = known.iter().find(|kind| headers.contains(*kind)).unwrap();
                format!("{kind} {}", row.get::<String, _>(1))
            })
            .collect()
    }

    pub(super) async fn change(&self, sql: &str) {
        self.rows(sql).await;
    }

    pub(super) async fn count(&self, sql: &str) -> i64 {
        self.rows(sql).await[0].get(0)
    }

    #[expect(clippy::disallowed_methods, reason = "no query data for tests")]
    pub(super) async fn rows(&self, sql: &str) -> Vec<PgRow> {
        sqlx::query(AssertSqlSafe(sql.to_owned()))
            .fetch_all(&mut self.database.connect().await)
            .await
            .unwrap()
    }
}

/// One more instance of the service.
pub(super) async fn handlers(db: &Db, passwords: &config::Passwords) -> Handlers {
    let desk = Desk {
        db: db.clone(),
        clock: Clock::system(),
        doorbell: Doorbell::new(),
        passwords: Passwords::new(passwords).unwrap(),
        ring: Ring::default(),
    };
    desk.ring.turn(db).await.unwrap();
    Handlers {
        desk,
        service_secret: Some(SECRET.to_owned().into()),
    }
}

pub(super) fn upkeep(desk: Desk) -> Upkeep {
    let authorizer = Authorizer::new(desk.clock.clone()).unwrap();
    Upkeep { desk, authorizer }
}

pub(super) fn registration(user_name: &str) -> pb::RegisterUserRequest {
    pb::RegisterUserRequest {
        email: format!("{user_name}@example.org"),
        user_name: user_name.to_owned(),
        password: PASSWORD.to_owned(),
        first_name: "A.".to_owned(),
        last_name: "Body".to_owned(),
    }
}

pub(super) fn credentials(login: &str, password: &str) -> Request<pb::CreateSessionRequest> {
    Request::new(pb::CreateSessionRequest {
        login: login.to_owned(),
        password: password.to_owned(),
    })
}

pub(super) fn numbers(roles: &[Role]) -> Vec<i32> {
    roles
        .iter()
        .map(|role| palinode_pb::auth::v1::Role::from(*role).into())
        .collect()
}

/// A request of a user, as the authorizer of the methods lets it in.
pub(super) fn by<T>(user: &str, session: Option<&str>, message: T) -> Request<T> {
    called(message, user, session, &[Role::Customer])
}

pub(super) fn by_admin<T>(message: T) -> Request<T> {
    called(message, "root", None, &[Role::Customer, Role::Admin])
}

fn called<T>(message: T, user: &str, session: Option<&str>, roles: &[Role]) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(Caller {
        principal: Principal {
            subject: user.parse().unwrap(),
            roles: roles.to_vec(),
            session: session.map(|id| id.parse::<Uuid>().unwrap()),
            expires_at: Clock::system().now() + Duration::from_mins(15),
        },
        sees_all: roles.contains(&Role::Admin),
    });
    request
}

/// The answer, or code and reason.
pub(super) fn told<T>(answer: Result<Response<T>, Status>) -> Result<T, (ErrorCode, String)> {
    answer.map(Response::into_inner).map_err(|status| {
        assert_ne!(status.code(), Code::Internal, "{status:?}");
        let Failure { code, reason, .. } = Failure::from(status);
        (code, reason)
    })
}

pub(super) fn refusal<T>(code: ErrorCode, reason: &str) -> Result<T, (ErrorCode, String)> {
    Err((code, reason.to_owned()))
}
