use futures_util::future::join_all;
use palinode_pb::identity::v1 as pb;
use palinode_pb::identity::v1::identity_service_server::IdentityService;
use palinode_values::ErrorCode;
use sqlx::Row;
use tonic::Request;
use tonic_types::StatusExt;

use super::fixture::{Fixture, PASSWORD, refusal, registration, told};

fn keyed(message: pb::RegisterUserRequest, key: &str) -> Request<pb::RegisterUserRequest> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("idempotency-key", key.parse().unwrap());
    request
}

#[tokio::test]
async fn everybody_registers_as_a_customer_and_others_hear_of_it() {
    let fixture = Fixture::new().await;
    let request = pb::RegisterUserRequest {
        email: "Alice@Example.org".to_owned(),
        user_name: "Alice".to_owned(),
        ..registration("alice")
    };
    let answer = fixture.handlers.register_user(Request::new(request)).await;
    let answer = answer.unwrap();
    let metadata = answer.metadata().clone();
    let user = answer.into_inner().user.unwrap();
    assert_eq!(metadata.get("x-http-code").unwrap(), "201");
    let location = format!("/v1/users/{}", user.user_id);
    assert_eq!(metadata.get("location").unwrap(), location.as_str());
    assert_eq!(user.user_name, "alice");
    assert_eq!(user.email, "Alice@Example.org");
    assert_eq!(
        user.roles,
        [i32::from(palinode_pb::auth::v1::Role::Customer)]
    );
    assert_eq!(
        fixture.events().await,
        [format!("UserRegistered {}", user.user_id)]
    );
    let rows = fixture
        .rows("SELECT password_hash, account::text FROM account")
        .await;
    let (hash, row): (String, String) = (rows[0].get(0), rows[0].get(1));
    assert!(hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{hash}");
    assert!(!row.contains(PASSWORD), "{row}");
    let said = fixture
        .count("SELECT count(*) FROM outbox WHERE encode(payload, 'escape') LIKE '%argon2%'")
        .await;
    assert_eq!(said, 0);
}

#[tokio::test]
async fn all_that_is_wrong_is_told_at_once() {
    let fixture = Fixture::new().await;
    let request = pb::RegisterUserRequest {
        email: "no address".to_owned(),
        user_name: "a b".to_owned(),
        password: "short".to_owned(),
        first_name: "x".repeat(101),
        last_name: "\u{7}".to_owned(),
    };
    let refused = fixture.handlers.register_user(Request::new(request)).await;
    let status = refused.unwrap_err();
    let fields = status.get_details_bad_request().unwrap().field_violations;
    let fields: Vec<_> = fields.iter().map(|wrong| wrong.field.as_str()).collect();
    let all = ["email", "user_name", "password", "first_name", "last_name"];
    assert_eq!(fields, all);
    let admin = fixture
        .handlers
        .register_user(Request::new(registration("admin")));
    assert_eq!(
        told(admin.await),
        refusal(ErrorCode::Invalid, "INVALID_REQUEST"),
        "the name of the first administrator"
    );
    assert_eq!(fixture.count("SELECT count(*) FROM account").await, 0);
}

#[tokio::test]
async fn of_two_who_want_one_name_one_gets_it() {
    let fixture = Fixture::new().await;
    let by_name = |number: usize| pb::RegisterUserRequest {
        email: format!("{number}@example.org"),
        ..registration("alice")
    };
    let racers = (0..4).map(|n| fixture.handlers.register_user(Request::new(by_name(n))));
    let answers: Vec<_> = join_all(racers).await.into_iter().map(told).collect();
    let taken = refusal(ErrorCode::AlreadyExists, "USER_NAME_TAKEN");
    assert_eq!(answers.iter().filter(|answer| **answer == taken).count(), 3);
    assert_eq!(fixture.events().await.len(), 1);

    let by_address = |number: usize| pb::RegisterUserRequest {
        email: "Bob@example.org".to_owned(),
        ..registration(&format!("bob-{number}"))
    };
    let racers = (0..4).map(|n| fixture.handlers.register_user(Request::new(by_address(n))));
    let answers: Vec<_> = join_all(racers).await.into_iter().map(told).collect();
    let taken = refusal(ErrorCode::AlreadyExists, "EMAIL_TAKEN");
    assert_eq!(answers.iter().filter(|answer| **answer == taken).count(), 3);
    let other_case = Request::new(registration("bob"));
    assert_eq!(
        told(fixture.handlers.register_user(other_case).await),
        taken
    );
}

#[tokio::test]
async fn a_key_registers_one_user_and_for_one_registration_only() {
    let fixture = Fixture::new().await;
    let racers = (0..4).map(|_| {
        let request = keyed(registration("alice"), "k1");
        fixture.handlers.register_user(request)
    });
    let answers = join_all(racers).await.into_iter();
    let ids: Vec<_> = answers
        .map(|answer| told(answer).unwrap().user.unwrap().user_id)
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(fixture.events().await.len(), 1);

    let reused = refusal(ErrorCode::Conflict, "IDEMPOTENCY_KEY_REUSED");
    let other_password = pb::RegisterUserRequest {
        password: "another horse".to_owned(),
        ..registration("alice")
    };
    for other in [registration("bob"), other_password] {
        let answer = fixture.handlers.register_user(keyed(other, "k1")).await;
        assert_eq!(told(answer), reused);
    }
    let kept = fixture
        .count("SELECT count(*) FROM registration r WHERE r::text LIKE '%horse%'")
        .await;
    assert_eq!(kept, 0);
}

#[tokio::test]
async fn a_key_is_no_way_to_try_passwords() {
    let fixture = Fixture::new().await;
    let alice = keyed(registration("alice"), "k1");
    told(fixture.handlers.register_user(alice).await).unwrap();
    let mut last = None;
    for number in 0..6 {
        let guess = pb::RegisterUserRequest {
            password: format!("horse number {number}"),
            ..registration("alice")
        };
        last = Some(told(
            fixture.handlers.register_user(keyed(guess, "k1")).await,
        ));
    }
    let limited = refusal(ErrorCode::Limited, "TOO_MANY_ATTEMPTS");
    assert_eq!(last, Some(limited.clone()));
    let right = fixture
        .handlers
        .register_user(keyed(registration("alice"), "k1"));
    assert_eq!(told(right.await), limited);
}
