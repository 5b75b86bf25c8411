use futures_util::future::join_all;
use palinode_auth::Role;
use palinode_pb::identity::v1 as pb;
use palinode_pb::identity::v1::identity_service_server::IdentityService;
use palinode_values::ErrorCode;
use tonic::{Code, Request};

use super::fixture::{Fixture, PASSWORD, by, by_admin, numbers, refusal, registration, told};
use crate::app::{Seed, first_admin, seed};
use crate::convert;
use crate::domain::Password;
use crate::store::accounts;

fn of(user: &str) -> pb::GetUserRequest {
    pb::GetUserRequest {
        user_id: user.to_owned(),
    }
}

#[tokio::test]
async fn a_user_sees_himself_and_an_administrator_everybody() {
    let fixture = Fixture::new().await;
    let (alice, bob) = (
        fixture.register("alice").await,
        fixture.register("bob").await,
    );
    let get = async |request| told(fixture.handlers.get_user(request).await);
    let not_found = refusal(ErrorCode::NotFound, "USER_NOT_FOUND");
    let seen = get(by(&alice, None, of(&alice))).await.unwrap();
    assert_eq!(seen.user.unwrap().user_name, "alice");
    assert_eq!(get(by(&alice, None, of(&bob))).await, not_found);
    assert_eq!(get(by(&alice, None, of("nobody"))).await, not_found);
    assert_eq!(get(by_admin(of("nobody"))).await, not_found);
    get(by_admin(of(&bob))).await.unwrap();
    let me = by(&bob, None, pb::GetCurrentUserRequest {});
    let me = told(fixture.handlers.get_current_user(me).await).unwrap();
    assert_eq!(me.user.unwrap().user_id, bob);
}

#[tokio::test]
async fn nobody_is_let_in_without_an_authorizer() {
    let fixture = Fixture::new().await;
    let request = Request::new(pb::GetCurrentUserRequest {});
    let refused = fixture.handlers.get_current_user(request).await;
    assert_eq!(refused.unwrap_err().code(), Code::Internal);
}

#[tokio::test]
async fn users_are_listed_page_by_page() {
    let fixture = Fixture::new().await;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(fixture.register(&format!("user-{number}")).await);
    }
    ids.sort();
    let list = async |page_size: i32, page_token: &str| {
        let page_token = page_token.to_owned();
        let request = by_admin(pb::ListUsersRequest {
            page_size,
            page_token,
        });
        told(fixture.handlers.list_users(request).await)
    };
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let page = list(2, &token).await.unwrap();
        seen.extend(page.users.into_iter().map(|user| user.user_id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ids);
    assert_eq!(list(0, "").await.unwrap().users.len(), 5);
    let invalid = refusal(ErrorCode::Invalid, "INVALID_REQUEST");
    for (size, token) in [(-1, ""), (201, ""), (1, "no id")] {
        assert_eq!(list(size, token).await, invalid, "{size} {token}");
    }
}

#[tokio::test]
async fn roles_are_set_beside_that_of_a_customer() {
    let fixture = Fixture::new().await;
    let alice = fixture.register("alice").await;
    let roles = async |roles: &[Role]| {
        let user = fixture.set_roles(&alice, roles).await;
        user.map(|user| user.roles)
    };
    let twice = [Role::Operator, Role::Staff, Role::Operator];
    let all = numbers(&[Role::Customer, Role::Staff, Role::Operator]);
    assert_eq!(roles(&twice).await, Ok(all));
    let none = numbers(&[Role::Customer]);
    assert_eq!(roles(&[Role::Customer]).await, Ok(none.clone()));
    assert_eq!(roles(&[]).await, Ok(none));
    let invalid = refusal(ErrorCode::Invalid, "INVALID_REQUEST");
    assert_eq!(roles(&[Role::Service]).await, invalid);
    for number in [0, 99] {
        let request = by_admin(pb::SetUserRolesRequest {
            user_id: alice.clone(),
            roles: vec![number],
        });
        let answer = told(fixture.handlers.set_user_roles(request).await);
        assert_eq!(answer.map(|_| Vec::new()), invalid);
    }
    let nobody = fixture.set_roles("nobody", &[Role::Staff]).await;
    assert_eq!(nobody, refusal(ErrorCode::NotFound, "USER_NOT_FOUND"));
}

#[tokio::test]
async fn there_is_always_an_administrator() {
    let fixture = Fixture::new().await;
    let last = refusal(ErrorCode::Refused, "LAST_ADMIN");
    let alice = fixture.register("alice").await;
    let bob = fixture.register("bob").await;
    for user in [&alice, &bob] {
        fixture.set_roles(user, &[Role::Admin]).await.unwrap();
    }
    // each takes the role away from the other
    let racers = [&alice, &bob].map(|user| fixture.set_roles(user, &[]));
    let answers = join_all(racers).await;
    let refused = answers.iter().filter(|answer| **answer == last).count();
    assert_eq!(refused, 1, "{answers:?}");
    let admins = "SELECT count(*) FROM account WHERE 'admin' = ANY (roles)";
    assert_eq!(fixture.count(admins).await, 1);
    let only = if answers[0] == last { alice } else { bob };
    let request = by(&only, None, pb::DeleteCurrentUserRequest {});
    let deleted = fixture.handlers.delete_current_user(request).await;
    assert_eq!(
        told(deleted).map(drop),
        refusal(ErrorCode::Refused, "LAST_ADMIN")
    );
}

#[tokio::test]
async fn who_is_deleted_signs_in_no_more_and_others_hear_of_it() {
    let fixture = Fixture::new().await;
    let mut request = Request::new(registration("alice"));
    request
        .metadata_mut()
        .insert("idempotency-key", "k1".parse().unwrap());
    let registered = told(fixture.handlers.register_user(request).await).unwrap();
    let alice = registered.user.unwrap().user_id;
    let session = fixture.sign_in("alice", PASSWORD).await.unwrap();
    for _again in 0..2 {
        let request = by(&alice, None, pb::DeleteCurrentUserRequest {});
        told(fixture.handlers.delete_current_user(request).await).unwrap();
    }
    let events = [
        format!("UserRegistered {alice}"),
        format!("UserDeleted {alice}"),
    ];
    assert_eq!(fixture.events().await, events);
    let refreshed = fixture.refresh(&session.refresh_token).await;
    let invalid = refusal(ErrorCode::Unauthenticated, "REFRESH_TOKEN_INVALID");
    assert_eq!(refreshed, invalid);
    let signed_in = fixture.sign_in("alice", PASSWORD).await;
    let wrong = refusal(ErrorCode::Unauthenticated, "WRONG_CREDENTIALS");
    assert_eq!(signed_in, wrong);
    let me = by(&alice, None, pb::GetCurrentUserRequest {});
    let me = told(fixture.handlers.get_current_user(me).await);
    assert_eq!(me, refusal(ErrorCode::NotFound, "USER_NOT_FOUND"));
    for table in ["account", "session", "registration"] {
        let left = fixture
            .count(&format!("SELECT count(*) FROM {table}"))
            .await;
        assert_eq!(left, 0, "{table}");
    }
    // the name is free
    assert_ne!(fixture.register("alice").await, alice);
}

#[tokio::test]
async fn the_first_administrator_is_made_once() {
    let fixture = Fixture::new().await;
    let desk = &fixture.handlers.desk;
    let root = convert::first_admin("root@example.org", "root-likes-tea").unwrap();
    let starts = (0..3).map(|_| first_admin(desk, &root));
    join_all(starts)
        .await
        .into_iter()
        .for_each(|made| made.unwrap());
    let other = convert::first_admin("other@example.org", "other-likes-tea").unwrap();
    first_admin(desk, &other).await.unwrap();
    assert_eq!(fixture.count("SELECT count(*) FROM account").await, 1);
    assert_eq!(fixture.events().await.len(), 1);
    let session = fixture.sign_in("admin", "root-likes-tea").await.unwrap();
    let principal = fixture.verified(&session.access_token).await;
    assert_eq!(principal.roles, [Role::Customer, Role::Admin]);
    assert!(convert::first_admin("root", "short").is_err());
}

#[tokio::test]
async fn who_has_waited_with_the_address_of_the_administrator_gains_nothing() {
    let fixture = Fixture::new().await;
    let root = fixture.register("root").await;
    let stranger = fixture.sign_in("root", PASSWORD).await.unwrap();
    let settings = convert::first_admin("ROOT@example.org", "root-likes-tea").unwrap();
    first_admin(&fixture.handlers.desk, &settings)
        .await
        .unwrap();
    let refused = fixture.refresh(&stranger.refresh_token).await;
    let invalid = refusal(ErrorCode::Unauthenticated, "REFRESH_TOKEN_INVALID");
    assert_eq!(refused, invalid);
    fixture.sign_in("root", PASSWORD).await.unwrap_err();
    let session = fixture.sign_in("root", "root-likes-tea").await.unwrap();
    let principal = fixture.verified(&session.access_token).await;
    assert_eq!(principal.subject.as_str(), root);
    assert!(principal.roles.contains(&Role::Admin));
}

/// The same of one who changes his password, or deletes himself, while the administrator is made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_changes_his_password_while_the_administrator_is_made_gains_nothing() {
    for deletes in [false, true] {
        let fixture = Fixture::new().await;
        let root = fixture.register("root").await;
        let stranger = root.parse().unwrap();
        let hash = fixture
            .handlers
            .desk
            .passwords
            .hash(&Password("stranger-likes-tea".to_owned()))
            .await
            .unwrap();
        let mut tx = fixture.db.begin().await.unwrap();
        if deletes {
            accounts::delete(&mut tx, &stranger).await.unwrap();
        } else {
            let changed = accounts::set_password(&mut tx, &stranger, 1, &hash).await;
            assert!(changed.unwrap());
        }
        let settings = convert::first_admin("root@example.org", "root-likes-tea").unwrap();
        let waits = async {
            fixture.database.until_locked_out("account").await;
            tx.commit().await.unwrap();
        };
        let (made, ()) = tokio::join!(first_admin(&fixture.handlers.desk, &settings), waits);
        made.unwrap();
        fixture
            .sign_in("root", "stranger-likes-tea")
            .await
            .unwrap_err();
        let name = if deletes { "root@example.org" } else { "root" };
        let session = fixture.sign_in(name, "root-likes-tea").await.unwrap();
        let principal = fixture.verified(&session.access_token).await;
        assert!(principal.roles.contains(&Role::Admin));
    }
}

#[tokio::test]
async fn seeds_are_sown_once() {
    let fixture = Fixture::new().await;
    let seeds = [Seed {
        id: "alice".parse().unwrap(),
        user_name: "alice".to_owned(),
        email: "alice@example.org".to_owned(),
        password: "alice-likes-tea".to_owned(),
        roles: vec![Role::Staff],
    }];
    for _again in 0..2 {
        seed(&fixture.db, &seeds).await.unwrap();
    }
    let session = fixture.sign_in("alice", "alice-likes-tea").await.unwrap();
    let user = session.user.unwrap();
    assert_eq!(user.user_id, "alice");
    assert_eq!(user.roles, numbers(&[Role::Customer, Role::Staff]));
    assert!(!format!("{seeds:?}").contains("likes-tea"));
}
