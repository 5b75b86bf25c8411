use crate::stack::{Stack, events, execute};

struct Parked {
    body_bytes: i32,
    error: String,
}

async fn parked(stack: &Stack) -> Vec<Parked> {
    sqlx::query_as!(
        Parked,
        r#"SELECT length(payload) AS "body_bytes!", error FROM outbox_parked ORDER BY id"#
    )
    .fetch_all(stack.db.pool())
    .await
    .unwrap()
}

/// A record that is larger than any broker takes: `append` would refuse it.
async fn write_too_large(stack: &Stack, key: &str) {
    sqlx::query!(
        "INSERT INTO outbox (lane, topic, event_id, key, headers, payload)
         VALUES ($1, $2, gen_random_uuid(), $3, '', decode(repeat('00', 2000000), 'hex'))",
        palinode_messaging::lane_of(key.as_bytes()),
        events().number(),
        key.as_bytes(),
    )
    .execute(stack.db.pool())
    .await
    .unwrap();
}

#[tokio::test]
async fn a_record_that_is_too_large_blocks_its_key_and_no_other() {
    let mut stack = Stack::start(1).await;
    stack.write("bad", &[b"bad-1"]).await;
    write_too_large(&stack, "bad").await;
    stack.write("bad", &[b"bad-3"]).await;
    stack.write("good", &[b"good-1", b"good-2"]).await;
    let relay = stack.relay();
    stack.check().await;
    let mut bodies = stack.bodies();
    bodies.sort_unstable();
    assert_eq!(bodies, ["bad-1", "good-1", "good-2"]);
    let rows = parked(&stack).await;
    assert_eq!(rows[0].body_bytes, 2_000_000);
    assert!(rows[0].error.contains("too large"), "{}", rows[0].error);
    assert!(
        rows[1].error.contains("earlier record"),
        "{}",
        rows[1].error
    );
    assert_eq!(rows.len(), 2);

    // the key stays blocked, for a successor too, that reads it with its leases
    relay.stop().await;
    let mut relay = stack.relay();
    stack.write("bad", &[b"bad-4"]).await;
    stack.write("good", &[b"good-3"]).await;
    stack.check().await;
    assert_eq!(parked(&stack).await.len(), 3);
    relay
        .until("it is counted", |status| status.parked == 1)
        .await;
    assert_eq!(stack.bodies().last().map(String::as_str), Some("good-3"));

    // somebody decides: the owner reads the parked keys again
    execute(&stack.db, "DELETE FROM outbox_parked").await;
    execute(
        &stack.db,
        "UPDATE outbox_lane SET verdict_seq = verdict_seq + 1",
    )
    .await;
    stack.two_lease_rounds().await;
    stack.write("bad", &[b"bad-5"]).await;
    stack.see(5).await;
    assert_eq!(stack.bodies().last().map(String::as_str), Some("bad-5"));
    relay.stop().await;
    stack.end().await;
}

#[tokio::test]
async fn a_record_for_a_topic_that_nobody_knows_is_parked() {
    let mut stack = Stack::start(1).await;
    let relay = stack.relay();
    execute(
        &stack.db,
        "INSERT INTO outbox (lane, topic, event_id, key, headers, payload)
         VALUES (0, 999, gen_random_uuid(), 'a', '', '')",
    )
    .await;
    stack.check().await;
    let rows = parked(&stack).await;
    assert_eq!(rows[0].error, "topic number 999 is in no dictionary");
    relay.stop().await;
    stack.end().await;
}
