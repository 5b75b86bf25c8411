//! Every conversion between the contracts and the domain.

use palinode_auth::Role;
use palinode_messaging::{Record, Topic, events_of};
use palinode_pb::google::api::HttpBody;
use palinode_pb::identity::v1 as pb;
use palinode_rpc::Violations;
use palinode_telemetry::TraceContext;
use palinode_values::{Clock, EventId, Timestamp, UserId};
use prost::{Message, Name};
use sha2::{Digest, Sha256};

use crate::app::SignedIn;
use crate::config::{ACCESS_LIFETIME, SERVICE_LIFETIME};
use crate::domain::{
    Account, Password, Registration, check_email, check_password, check_user_name, is_reserved,
};

const NAME_LEN_MAX: usize = 100;
/// Characters of a login: those of an e-mail address.
const LOGIN_LEN_MAX: usize = 254;
/// Nobody's password is longer.
const PASSWORD_LEN_MAX: usize = 128;
const PAGE_DEFAULT: i32 = 50;
const PAGE_MAX: i32 = 200;

/// Checks a registration; all that is wrong with it at once.
pub(crate) fn registration(message: pb::RegisterUserRequest) -> Result<Registration, Violations> {
    let mut wrong = Violations::new();
    let email = check_email(&message.email);
    let email = wrong.check("email", "MALFORMED", email);
    let user_name = check_user_name(&message.user_name);
    let user_name = wrong.check("user_name", "MALFORMED", user_name);
    if user_name.as_deref().is_some_and(is_reserved) {
        wrong.add("user_name", "RESERVED", "must be another one");
    }
    let password = check_password(&message.password, &message.user_name, &message.email)
        .map_err(|(reason, words)| wrong.add("password", reason, words));
    let mut name = |field: &str, value: &str| {
        if value.chars().count() > NAME_LEN_MAX {
            wrong.add(field, "TOO_LONG", "must be at most 100 characters");
        } else if value.chars().any(char::is_control) {
            wrong.add(field, "MALFORMED", "must be without control characters");
        }
    };
    name("first_name", &message.first_name);
    name("last_name", &message.last_name);
    match (email, user_name, password) {
        (Some(email), Some(user_name), Ok(password)) if wrong.is_empty() => Ok(Registration {
            email,
            user_name,
            password,
            first_name: message.first_name,
            last_name: message.last_name,
        }),
        _ => Err(wrong),
    }
}

/// What a registration is told by from others with the same idempotency key: all but the password.
pub(crate) fn fingerprint(message: &pb::RegisterUserRequest) -> [u8; 32] {
    let without = pb::RegisterUserRequest {
        password: String::new(),
        ..message.clone()
    };
    Sha256::digest(without.encode_to_vec()).into()
}

/// The first administrator as the settings have him.
pub(crate) fn first_admin(email: &str, password: &str) -> Result<Registration, Violations> {
    let user_name = "admin";
    let mut wrong = Violations::new();
    let email = wrong.check("first_admin", "MALFORMED", check_email(email));
    let address = email.as_deref().unwrap_or_default();
    let password = check_password(password, user_name, address)
        .map_err(|(reason, words)| wrong.add("first_admin_password", reason, words));
    match (email, password) {
        (Some(email), Ok(password)) => Ok(Registration {
            email,
            user_name: user_name.to_owned(),
            password,
            first_name: String::new(),
            last_name: String::new(),
        }),
        _ => Err(wrong),
    }
}

/// Login and password of a sign-in.
pub(crate) fn credentials(
    message: pb::CreateSessionRequest,
) -> Result<(String, Password), Violations> {
    let mut wrong = Violations::new();
    require(&mut wrong, "login", &message.login, LOGIN_LEN_MAX);
    require(&mut wrong, "password", &message.password, PASSWORD_LEN_MAX);
    wrong.into_result()?;
    Ok((message.login, Password(message.password)))
}

/// The current password, and the new one as it was given.
pub(crate) fn passwords(
    message: pb::ChangePasswordRequest,
) -> Result<(Password, String), Violations> {
    let mut wrong = Violations::new();
    let current = message.current_password;
    require(&mut wrong, "current_password", &current, PASSWORD_LEN_MAX);
    wrong.into_result()?;
    Ok((Password(current), message.new_password))
}

fn require(wrong: &mut Violations, field: &'static str, value: &str, max: usize) {
    if value.is_empty() {
        wrong.add(field, "REQUIRED", "must be given");
    } else if value.chars().count() > max {
        let words = format!("must be at most {max} characters");
        wrong.add(field, "TOO_LONG", words);
    }
}

pub(crate) fn user_id(field: &'static str, text: &str) -> Result<UserId, Violations> {
    text.parse::<UserId>()
        .map_err(|error| Violations::of(field, "MALFORMED", format!("must be {}", error.rule)))
}

/// A user, and his roles as an account has them: each once, customer among them, in one order.
pub(crate) fn roles(message: &pb::SetUserRolesRequest) -> Result<(UserId, Vec<Role>), Violations> {
    let mut wrong = Violations::new();
    let user = message.user_id.parse::<UserId>();
    let user = user.map_err(|e| wrong.add("user_id", "MALFORMED", format!("must be {}", e.rule)));
    let mut roles = vec![Role::Customer];
    for (position, number) in message.roles.iter().enumerate() {
        match Role::try_from(*number) {
            Ok(Role::Service) | Err(_) => {
                let words = "must be ROLE_STAFF, ROLE_OPERATOR or ROLE_ADMIN";
                wrong.add(format!("roles[{position}]"), "UNKNOWN", words);
            }
            Ok(role) => roles.push(role),
        }
    }
    roles.sort_unstable();
    roles.dedup();
    match user {
        Ok(user) if wrong.is_empty() => Ok((user, roles)),
        _ => Err(wrong),
    }
}

/// The user before the page, and the page's size.
pub(crate) fn page(message: &pb::ListUsersRequest) -> Result<(Option<UserId>, i32), Violations> {
    let size = match message.page_size {
        0 => PAGE_DEFAULT,
        size @ 1..=PAGE_MAX => size,
        _ => {
            let words = "must be 1 to 200";
            return Err(Violations::of("page_size", "OUT_OF_RANGE", words));
        }
    };
    match message.page_token.as_str() {
        "" => Ok((None, size)),
        token => Ok((Some(user_id("page_token", token)?), size)),
    }
}

/// A page of users; a full one has a next.
pub(crate) fn users(accounts: Vec<Account>, size: i32) -> pb::ListUsersResponse {
    let is_full = i32::try_from(accounts.len()) == Ok(size);
    let last = accounts.last().filter(|_| is_full);
    pb::ListUsersResponse {
        next_page_token: last.map(|last| last.id.to_string()).unwrap_or_default(),
        users: accounts.into_iter().map(user).collect(),
    }
}

pub(crate) fn user(account: Account) -> pb::User {
    let roles = account.roles.into_iter();
    pb::User {
        user_id: account.id.to_string(),
        email: account.email,
        user_name: account.user_name,
        first_name: account.first_name,
        last_name: account.last_name,
        roles: roles
            .map(|role| palinode_pb::auth::v1::Role::from(role).into())
            .collect(),
        created_at: Some(timestamp(account.created_at)),
        updated_at: Some(timestamp(account.updated_at)),
    }
}

pub(crate) fn session(signed_in: SignedIn) -> pb::Session {
    pb::Session {
        session_id: signed_in.session.to_string(),
        access_token: signed_in.access_token,
        token_type: "Bearer".to_owned(),
        expires_in: i32::try_from(ACCESS_LIFETIME.as_secs()).unwrap_or(i32::MAX),
        refresh_token: signed_in.refresh_token,
        user: Some(user(signed_in.account)),
    }
}

pub(crate) fn service_token(access_token: String) -> pb::CreateServiceTokenResponse {
    pb::CreateServiceTokenResponse {
        access_token,
        expires_in: i32::try_from(SERVICE_LIFETIME.as_secs()).unwrap_or(i32::MAX),
    }
}

/// The subject of a service's tokens; its name is in the table of services.
pub(crate) fn service(name: &str) -> Result<UserId, Violations> {
    let known = palinode_service::service(name).and_then(|spec| {
        let subject = format!("service.{}", spec.name);
        subject.parse().ok()
    });
    known.ok_or_else(|| Violations::of("service", "UNKNOWN", "must be a service of the platform"))
}

pub(crate) fn key_set(json: String) -> HttpBody {
    HttpBody {
        content_type: "application/jwk-set+json".to_owned(),
        data: json.into_bytes().into(),
    }
}

fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: at.timestamp(),
        nanos: i32::try_from(at.timestamp_subsec_nanos()).unwrap_or_default(),
    }
}

pub(crate) fn user_registered(user: &UserId, clock: &Clock, trace: &TraceContext) -> Record {
    let message = pb::UserRegistered {
        user_id: user.to_string(),
    };
    event(user, &message, clock, trace)
}

pub(crate) fn user_deleted(user: &UserId, clock: &Clock, trace: &TraceContext) -> Record {
    let message = pb::UserDeleted {
        user_id: user.to_string(),
    };
    event(user, &message, clock, trace)
}

fn event<M: Message + Name>(
    user: &UserId,
    message: &M,
    clock: &Clock,
    trace: &TraceContext,
) -> Record {
    Record {
        topic: events(),
        key: user.as_str().as_bytes().to_vec(),
        event_id: EventId::new(clock),
        kind: M::full_name().into(),
        body: message.encode_to_vec().into(),
        trace: trace.child(),
        saga: None,
    }
}

fn events() -> Topic {
    events_of("identity").expect("identity has a topic of events")
}
