use std::time::{Duration, Instant};

use futures_util::future::join_all;
use palinode_pb::identity::v1::identity_service_server::IdentityService;
use palinode_values::ErrorCode;
use tonic_types::StatusExt;

use super::fixture::{Fixture, PASSWORD, cheap, credentials, refusal, upkeep};
use crate::app::{Error, Passwords};
use crate::config;
use crate::domain::{Password, Reason};

#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_look_alike() {
    let fixture = Fixture::new().await;
    fixture.register("alice").await;
    let mut answers = Vec::new();
    for login in ["alice", "ALICE@example.org", "nobody", "nobody@example.org"] {
        let answer = fixture
            .handlers
            .create_session(credentials(login, "wrong horse"));
        let status = answer.await.unwrap_err();
        answers.push((status.code(), status.message().to_owned()));
        let refused = fixture.sign_in(login, "wrong horse").await;
        let alike = refusal(ErrorCode::Unauthenticated, "WRONG_CREDENTIALS");
        assert_eq!(refused, alike, "{login}");
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}

#[tokio::test]
async fn five_wrong_passwords_close_the_door_for_ever_longer_until_the_right_one() {
    let fixture = Fixture::new().await;
    fixture.register("alice").await;
    let wrong = refusal(ErrorCode::Unauthenticated, "WRONG_CREDENTIALS");
    let limited = refusal(ErrorCode::Limited, "TOO_MANY_ATTEMPTS");
    let waited = "UPDATE sign_in_failure SET refused_until = now()";
    for _ in 0..5 {
        assert_eq!(fixture.sign_in("alice", "wrong horse").await, wrong);
    }
    for pause_s in [1, 2, 4, 8] {
        // the right one is not even looked at, in whatever case the name is
        assert_eq!(fixture.sign_in("Alice", PASSWORD).await, limited);
        let refused = fixture
            .handlers
            .create_session(credentials("alice", PASSWORD));
        let retry = refused.await.unwrap_err().get_details_retry_info().unwrap();
        let retry = retry.retry_delay.unwrap();
        assert!(retry <= Duration::from_secs(pause_s + 1), "{retry:?}");
        assert!(retry >= Duration::from_secs(1), "{retry:?}");
        let stored = "SELECT extract(epoch FROM refused_until - last_failed_at)::bigint
                        FROM sign_in_failure";
        assert_eq!(fixture.count(stored).await, i64::try_from(pause_s).unwrap());
        fixture.change(waited).await;
        assert_eq!(fixture.sign_in("alice", "wrong horse").await, wrong);
    }
    let others = fixture.sign_in("alice@example.org", PASSWORD).await;
    others.unwrap();
    fixture.change(waited).await;
    fixture.sign_in("alice", PASSWORD).await.unwrap();
    assert_eq!(
        fixture.count("SELECT count(*) FROM sign_in_failure").await,
        0
    );
    assert_eq!(fixture.sign_in("alice", "wrong horse").await, wrong);
}

#[tokio::test]
async fn many_guesses_at_once_are_told_no_more_than_five() {
    let fixture = Fixture::new().await;
    fixture.register("alice").await;
    let guesses = (0..30).map(|_| fixture.sign_in("alice", "wrong horse"));
    let began = Instant::now();
    let answers = join_all(guesses).await;
    let wrong = refusal(ErrorCode::Unauthenticated, "WRONG_CREDENTIALS");
    let told = answers.iter().filter(|answer| **answer == wrong).count();
    // the first pause is a second: on a slow machine some may come after it
    let later = usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!((5..=5 + later).contains(&told), "{answers:?}");
}

#[tokio::test]
async fn failures_are_forgotten_after_a_day() {
    let fixture = Fixture::new().await;
    for login in ["alice", "bob"] {
        fixture.sign_in(login, "wrong horse").await.unwrap_err();
    }
    fixture
        .change(
            "UPDATE sign_in_failure SET last_failed_at = now() - interval '25 h'
              WHERE login = sha256('alice')",
        )
        .await;
    let desk = fixture.handlers.desk.clone();
    upkeep(desk).step().await.unwrap();
    assert_eq!(
        fixture.count("SELECT count(*) FROM sign_in_failure").await,
        1
    );
}

#[tokio::test]
async fn who_finds_no_place_in_the_queue_is_sent_away() {
    let short = config::Passwords {
        // the first one is not done before the last one asks
        memory_kib: 19_456,
        at_once: 1,
        waiting_max: 2,
        ..cheap()
    };
    let passwords = Passwords::new(&short).unwrap();
    let password = Password(PASSWORD.to_owned());
    let answers = join_all((0..5).map(|_| passwords.hash(&password))).await;
    let full = |answer: &Result<String, Error>| {
        matches!(answer, Err(Error::Refused(Reason::TooManySignIns)))
    };
    let sent_away: Vec<_> = answers.iter().map(full).collect();
    assert_eq!(sent_away, [false, false, false, true, true]);
    passwords.hash(&password).await.unwrap();
}

#[tokio::test]
async fn a_hash_of_old_parameters_is_made_anew_when_its_user_signs_in() {
    let fixture = Fixture::new().await;
    let alice = fixture.register("alice").await;
    let old = config::Passwords {
        memory_kib: 16,
        ..cheap()
    };
    let old = Passwords::new(&old).unwrap();
    let hash = old.hash(&Password(PASSWORD.to_owned())).await.unwrap();
    fixture
        .change(&format!("UPDATE account SET password_hash = '{hash}'"))
        .await;
    fixture.sign_in("alice", PASSWORD).await.unwrap();
    let today = format!(
        "SELECT count(*) FROM account
          WHERE id = '{alice}' AND password_hash LIKE '%$m=8,t=1,p=1$%' AND password_version = 1"
    );
    assert_eq!(fixture.count(&today).await, 1);
    fixture.sign_in("alice", PASSWORD).await.unwrap();
}
