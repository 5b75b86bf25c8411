use std::time::Duration;

use futures_util::future::join_all;
use palinode_auth::{Grant, Principal, Role, Verifier};
use palinode_pb::identity::v1 as pb;
use palinode_pb::identity::v1::identity_service_server::IdentityService;
use palinode_values::{Clock, ErrorCode};
use tonic::Request;

use super::fixture::{Fixture, SECRET, refusal, told};
use crate::app::{Mint, Ring};

fn grant() -> Grant {
    Grant {
        subject: "alice".parse().unwrap(),
        roles: vec![Role::Customer],
        session: None,
        lifetime: Duration::from_mins(1),
    }
}

fn verify(keys: &str, token: &str) -> Option<Principal> {
    let verifier = Verifier::new(Clock::system());
    verifier.set_keys(keys).unwrap();
    verifier.verify(token).ok()
}

#[tokio::test]
async fn instances_that_start_at_once_agree_on_one_key() {
    let fixture = Fixture::new().await;
    fixture.change("DELETE FROM signing_key").await;
    let rings: Vec<Ring> = (0..4).map(|_| Ring::default()).collect();
    join_all(rings.iter().map(|ring| ring.turn(&fixture.db)))
        .await
        .into_iter()
        .for_each(|turned| turned.unwrap());
    assert_eq!(fixture.count("SELECT count(*) FROM signing_key").await, 1);
    let now = Clock::system().now();
    let token = rings[0].sign(&grant(), now).unwrap();
    for ring in &rings {
        verify(&ring.publish(), &token).unwrap();
    }
    assert!(!rings[0].publish().contains("\"d\""), "no private half");
    assert!(Ring::default().sign(&grant(), now).is_err());
}

#[tokio::test]
async fn a_key_is_published_before_it_signs_and_after_it_has_signed() {
    let fixture = Fixture::new().await;
    let ring = &fixture.handlers.desk.ring;
    let sign = || ring.sign(&grant(), Clock::system().now()).unwrap();
    let turn = async |sql: &str| {
        fixture.change(sql).await;
        ring.turn(&fixture.db).await.unwrap();
        fixture.keys().await
    };
    let back = |time: &str| {
        format!(
            "UPDATE signing_key SET created_at = created_at - interval '{time}',
                                    signs_from = signs_from - interval '{time}'"
        )
    };
    let only_old = turn(&back("29 days")).await;
    let by_old = sign();
    let both = turn(&back("25 h")).await;
    assert_ne!(both, only_old, "the next one is published");
    verify(&only_old, &sign()).expect("and does not sign yet");
    assert_eq!(turn("SELECT").await, both, "there is none beyond the next");

    turn(&back("61 min")).await;
    let by_new = sign();
    assert!(verify(&only_old, &by_new).is_none(), "the new one signs");
    verify(&both, &by_new).expect("and was known an hour before");
    let keys = fixture.keys().await;
    verify(&keys, &by_old).expect("the old one is published as long as its tokens live");

    let only_new = turn(&back("70 min")).await;
    verify(&only_new, &by_new).unwrap();
    assert!(verify(&only_new, &by_old).is_none());
    assert_eq!(fixture.count("SELECT count(*) FROM signing_key").await, 1);
}

#[tokio::test]
async fn a_service_that_knows_the_secret_gets_a_token() {
    let mut fixture = Fixture::new().await;
    let request = |service: &str, secret: &str| {
        Request::new(pb::CreateServiceTokenRequest {
            service: service.to_owned(),
            secret: secret.to_owned(),
        })
    };
    let answer = fixture
        .handlers
        .create_service_token(request("order", SECRET));
    let token = told(answer.await).unwrap();
    assert_eq!(token.expires_in, 3_600);
    let principal = fixture.verified(&token.access_token).await;
    assert_eq!(principal.subject.as_str(), "service.order");
    assert_eq!(principal.roles, [Role::Service]);
    assert_eq!(principal.session, None);

    let wrong = refusal(ErrorCode::Unauthenticated, "WRONG_CREDENTIALS");
    for secret in ["", &SECRET[1..], "another"] {
        let answer = fixture
            .handlers
            .create_service_token(request("order", secret));
        assert_eq!(told(answer.await), wrong, "{secret}");
    }
    let unknown = fixture
        .handlers
        .create_service_token(request("nonsense", SECRET));
    assert_eq!(
        told(unknown.await),
        refusal(ErrorCode::Invalid, "INVALID_REQUEST")
    );
    fixture.handlers.service_secret = None;
    for secret in ["", SECRET] {
        let answer = fixture
            .handlers
            .create_service_token(request("order", secret));
        assert_eq!(told(answer.await), wrong, "nothing is configured");
    }
}

#[tokio::test]
async fn a_mint_makes_tokens_that_identity_vouches_for() {
    let fixture = Fixture::new().await;
    let mint = Mint::open(&fixture.db).await.unwrap();
    let token = mint.token(&grant()).unwrap();
    let principal = fixture.verified(&token).await;
    assert_eq!(principal.subject.as_str(), "alice");
    assert_eq!(mint.keys(), fixture.keys().await);
}

#[tokio::test]
async fn secrets_are_not_shown() {
    let fixture = Fixture::new().await;
    let alice = fixture.register("alice").await;
    let alice = alice.parse().unwrap();
    let found = crate::store::accounts::find(fixture.db.pool(), &alice).await;
    let account = found.unwrap().unwrap().account;
    let shown = format!("{account:?} {:?}", fixture.handlers);
    for secret in ["argon2", SECRET, "correct horse"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
