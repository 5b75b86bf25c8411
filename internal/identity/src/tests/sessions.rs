use futures_util::future::join_all;
use palinode_auth::Role;
use palinode_pb::identity::v1 as pb;
use palinode_pb::identity::v1::identity_service_server::IdentityService;
use palinode_values::ErrorCode;

use super::fixture::{Fixture, PASSWORD, by, refusal, told, upkeep};
use crate::domain::Token;

fn generation(session: &pb::Session) -> i32 {
    Token::read(&session.refresh_token).unwrap().generation()
}

fn invalid() -> Result<pb::Session, (ErrorCode, String)> {
    refusal(ErrorCode::Unauthenticated, "REFRESH_TOKEN_INVALID")
}

fn reused() -> Result<pb::Session, (ErrorCode, String)> {
    refusal(ErrorCode::Unauthenticated, "REFRESH_TOKEN_REUSED")
}

#[tokio::test]
async fn a_user_signs_in_by_name_and_by_address() {
    let fixture = Fixture::new().await;
    let alice = fixture.register("alice").await;
    for login in ["alice", "Alice", "alice@example.org", "ALICE@Example.ORG"] {
        let session = fixture.sign_in(login, PASSWORD).await.unwrap();
        assert_eq!(session.token_type, "Bearer");
        assert_eq!(session.expires_in, 900);
        assert_eq!(session.user.as_ref().unwrap().user_id, alice);
        let principal = fixture.verified(&session.access_token).await;
        assert_eq!(principal.subject.as_str(), alice);
        assert_eq!(principal.roles, [Role::Customer]);
        let id = principal.session.unwrap().to_string();
        assert_eq!(id, session.session_id);
    }
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_answered_again_for_half_a_minute() {
    let fixture = Fixture::new().await;
    fixture.register("alice").await;
    let first = fixture.sign_in("alice", PASSWORD).await.unwrap();
    let second = fixture.refresh(&first.refresh_token).await.unwrap();
    assert_eq!((generation(&first), generation(&second)), (1, 2));
    assert_eq!(second.session_id, first.session_id);
    let again = fixture.refresh(&first.refresh_token).await.unwrap();
    assert_eq!(again.refresh_token, second.refresh_token);
    fixture.verified(&again.access_token).await;
    let third = fixture.refresh(&again.refresh_token).await.unwrap();
    assert_eq!(generation(&third), 3);
}

#[tokio::test]
async fn a_token_that_comes_too_late_ends_the_session_and_the_newer_token_with_it() {
    let fixture = Fixture::new().await;
    fixture.register("alice").await;
    let first = fixture.sign_in("alice", PASSWORD).await.unwrap();
    let other = fixture.sign_in("alice", PASSWORD).await.unwrap();
    let second = fixture.refresh(&first.refresh_token).await.unwrap();
    let half_a_minute = "UPDATE session SET rotated_at = rotated_at - interval '31 s'";
    fixture.change(half_a_minute).await;
    assert_eq!(fixture.refresh(&first.refresh_token).await, reused());
    assert_eq!(fixture.refresh(&second.refresh_token).await, invalid());
    assert_eq!(fixture.refresh(&first.refresh_token).await, invalid());
    let ended = "SELECT count(*) FROM session WHERE ended_reason = 'reused'";
    assert_eq!(fixture.count(ended).await, 1);
    fixture.refresh(&other.refresh_token).await.unwrap();

    // two generations back, it is late at once
    let third = fixture.sign_in("alice", PASSWORD).await.unwrap();
    let fourth = fixture.refresh(&third.refresh_token).await.unwrap();
    fixture.refresh(&fourth.refresh_token).await.unwrap();
    assert_eq!(fixture.refresh(&third.refresh_token).await, reused());
}

#[tokio::test]
async fn many_who_refresh_at_once_go_one_generation_on() {
    let fixture = Fixture::new().await;
    fixture.register("alice").await;
    let first = fixture.sign_in("alice", PASSWORD).await.unwrap();
    let racers = (0..10).map(|_| fixture.refresh(&first.refresh_token));
    let answers: Vec<_> = join_all(racers).await.into_iter().collect();
    let tokens: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.unwrap().refresh_token)
        .collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]));
    let alive = "SELECT count(*) FROM session WHERE generation = 2 AND ended_at IS NULL";
    assert_eq!(fixture.count(alive).await, 1);
    fixture.refresh(&tokens[0]).await.unwrap();
}

#[tokio::test]
async fn what_is_no_token_of_a_live_session_is_refused() {
    let fixture = Fixture::new().await;
    fixture.register("alice").await;
    let session = fixture.sign_in("alice", PASSWORD).await.unwrap();
    let token = &session.refresh_token;
    let flipped = if token.ends_with('A') { "B" } else { "A" };
    let forged = format!("{}{flipped}", &token[..token.len() - 1]);
    let middle = format!("{}____{}", &token[..40], &token[44..]);
    for bad in ["", "a.b.c", &forged, &middle] {
        assert_eq!(fixture.refresh(bad).await, invalid(), "{bad}");
    }
    fixture.refresh(token).await.unwrap();
    fixture
        .change("UPDATE session SET expires_at = now() - interval '1 s'")
        .await;
    assert_eq!(fixture.refresh(token).await, invalid());
}

#[tokio::test]
async fn a_session_lives_for_thirty_days_at_a_time_and_ninety_in_all() {
    let fixture = Fixture::new().await;
    fixture.register("alice").await;
    let first = fixture.sign_in("alice", PASSWORD).await.unwrap();
    let days = "SELECT round(extract(epoch FROM expires_at - now()) / 86400)::bigint FROM session";
    assert_eq!(fixture.count(days).await, 30);
    let later = "UPDATE session SET created_at = created_at - interval '80 days',
                                    expires_at = now() + interval '1 day'";
    fixture.change(later).await;
    let second = fixture.refresh(&first.refresh_token).await.unwrap();
    assert_eq!(fixture.count(days).await, 10);
    let over = "UPDATE session SET expires_at = now() - interval '25 h'";
    fixture.change(over).await;
    assert_eq!(fixture.refresh(&second.refresh_token).await, invalid());
    let desk = fixture.handlers.desk.clone();
    upkeep(desk).step().await.unwrap();
    assert_eq!(fixture.count("SELECT count(*) FROM session").await, 0);
}

#[tokio::test]
async fn the_oldest_session_makes_room_for_the_twenty_first() {
    let fixture = Fixture::new().await;
    fixture.register("alice").await;
    let first = fixture.sign_in("alice", PASSWORD).await.unwrap();
    let second = fixture.sign_in("alice", PASSWORD).await.unwrap();
    for _ in 0..19 {
        fixture.sign_in("alice", PASSWORD).await.unwrap();
    }
    let live = "SELECT count(*) FROM session WHERE ended_at IS NULL";
    assert_eq!(fixture.count(live).await, 20);
    assert_eq!(fixture.refresh(&first.refresh_token).await, invalid());
    fixture.refresh(&second.refresh_token).await.unwrap();
}

#[tokio::test]
async fn who_signs_out_ends_his_session_and_no_other() {
    let fixture = Fixture::new().await;
    let alice = fixture.register("alice").await;
    let here = fixture.sign_in("alice", PASSWORD).await.unwrap();
    let there = fixture.sign_in("alice", PASSWORD).await.unwrap();
    for _again in 0..2 {
        let message = pb::DeleteCurrentSessionRequest {};
        let request = by(&alice, Some(&here.session_id), message);
        told(fixture.handlers.delete_current_session(request).await).unwrap();
    }
    assert_eq!(fixture.refresh(&here.refresh_token).await, invalid());
    fixture.refresh(&there.refresh_token).await.unwrap();
}

#[tokio::test]
async fn a_new_password_ends_all_other_sessions() {
    let fixture = Fixture::new().await;
    let alice = fixture.register("alice").await;
    let here = fixture.sign_in("alice", PASSWORD).await.unwrap();
    let there = fixture.sign_in("alice", PASSWORD).await.unwrap();
    let change = async |current: &str, new: &str| {
        let message = pb::ChangePasswordRequest {
            current_password: current.to_owned(),
            new_password: new.to_owned(),
        };
        let request = by(&alice, Some(&here.session_id), message);
        told(fixture.handlers.change_password(request).await).map(drop)
    };
    let invalid_request = refusal(ErrorCode::Invalid, "INVALID_REQUEST");
    for easy in ["short", "alice@example.org", "password123"] {
        assert_eq!(change(PASSWORD, easy).await, invalid_request, "{easy}");
    }
    let wrong = refusal(ErrorCode::Refused, "WRONG_PASSWORD");
    assert_eq!(change("wrong horse", "another horse").await, wrong);
    change(PASSWORD, "another horse").await.unwrap();
    assert_eq!(fixture.refresh(&there.refresh_token).await, invalid());
    fixture.refresh(&here.refresh_token).await.unwrap();
    let old = fixture.sign_in("alice", PASSWORD).await;
    assert_eq!(
        old,
        refusal(ErrorCode::Unauthenticated, "WRONG_CREDENTIALS")
    );
    fixture.sign_in("alice", "another horse").await.unwrap();
    for _ in 0..5 {
        assert_eq!(change("wrong horse", "third horse").await, wrong);
    }
    let limited = refusal(ErrorCode::Limited, "TOO_MANY_ATTEMPTS");
    assert_eq!(change("another horse", "third horse").await, limited);
}

#[tokio::test]
async fn a_refresh_gives_the_roles_of_today() {
    let fixture = Fixture::new().await;
    let alice = fixture.register("alice").await;
    let session = fixture.sign_in("alice", PASSWORD).await.unwrap();
    fixture.set_roles(&alice, &[Role::Staff]).await.unwrap();
    let session = fixture.refresh(&session.refresh_token).await.unwrap();
    let principal = fixture.verified(&session.access_token).await;
    assert_eq!(principal.roles, [Role::Customer, Role::Staff]);
}
