use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use palinode_messaging::{Headers, Topic, lane_of};
use palinode_relay::operate::{
    Parked, Record, Refusal, Verdict, decide, lanes, list, set_paused, show, status,
};
use palinode_relay::{Mode, Options};
use palinode_testkit::eventually;

use crate::scripted::{Faults, Scripted};
use crate::stack::{LIMIT, RunningRelay, Stack, events, execute, quick, record};

const POISON: &[u8] = b"bad";

fn strict() -> Arc<Faults> {
    Arc::new(Faults {
        poison: Some(POISON),
        ..Faults::default()
    })
}

impl Stack {
    /// A relay whose broker refuses the poison.
    fn strict_relay(&self) -> RunningRelay {
        self.strict_relay_with(&strict())
    }

    fn strict_relay_with(&self, faults: &Arc<Faults>) -> RunningRelay {
        let scripted = Scripted {
            inner: self.producer(),
            faults: Arc::clone(faults),
        };
        // nothing is repeated, and verdicts are noticed soon
        let options = Options {
            lease_ttl: Duration::from_secs(6),
            stop_limit: Options::default().stop_limit,
            ..quick()
        };
        RunningRelay::start(options, vec![self.source()], scripted)
    }

    async fn parked(&self) -> Vec<Parked> {
        list(&self.db, 10_000).await.unwrap()
    }

    /// Waits until so many records are parked.
    async fn until_parked(&self, count: usize) -> Vec<Parked> {
        eventually(LIMIT, "records are parked", async || {
            let parked = self.parked().await;
            (parked.len() == count).then_some(parked)
        })
        .await
    }

    async fn decide(&self, record: &Record, verdict: Verdict) {
        let decided = decide(&self.db, record, verdict, "ada", "the topic is there now").await;
        decided.unwrap();
    }

    /// Writes a key with the poison in its middle, and waits until it and the last are parked.
    async fn park_one(&self, key: &str) -> Record {
        let before = self.parked().await.len();
        self.write(key, &[b"first", POISON, b"last"]).await;
        let parked = self.until_parked(before + 2).await;
        let Parked { record, behind, .. } = parked[before].clone();
        assert_eq!(behind, None);
        record
    }

    fn bodies_of(&self, key: &str) -> Vec<String> {
        let of_key = self.seen.iter().filter(|r| r.key == key.as_bytes());
        let text = of_key.map(|r| String::from_utf8_lossy(&r.body).into_owned());
        text.collect()
    }
}

fn id_of(record: &Record) -> i64 {
    match record {
        Record::Outbox(id) => *id,
        Record::Consumer { .. } => panic!("it is of the outbox"),
    }
}

#[tokio::test]
async fn a_replay_keeps_the_order_of_its_key_while_later_records_arrive() {
    let mut stack = Stack::start(1).await;
    let relay = stack.strict_relay();
    let bad = stack.park_one("k").await;
    relay.stop().await;

    stack.decide(&bad, Verdict::Replay).await;
    let relay = stack.steady_relay();
    for _ in 0..50 {
        stack.write("k", &[b"later", b"and later"]).await;
        stack.write("other", &[b"x"]).await;
    }
    eventually(LIMIT, "nothing is parked", async || {
        stack.parked().await.is_empty().then_some(())
    })
    .await;
    stack.write("k", &[b"at the end"]).await;
    // by the ids that were drawn, over all of that
    let sum = stack.check().await;
    assert_eq!((sum.committed, sum.repeats), (3 + 150 + 1, 0));
    assert_eq!(stack.bodies_of("k")[..3], ["first", "bad", "last"]);
    relay.stop().await;
    stack.end().await;
}

#[tokio::test]
async fn a_record_whose_fault_still_stands_is_parked_again_with_its_error() {
    let mut stack = Stack::start(1).await;
    let relay = stack.strict_relay();
    let bad = stack.park_one("k").await;
    execute(&stack.db, "UPDATE outbox_parked SET error = 'of before'").await;
    stack.decide(&bad, Verdict::Replay).await;
    let again = eventually(LIMIT, "it is parked again", async || {
        let shown = show(&stack.db, &bad).await.unwrap().unwrap();
        shown.parked.verdict.is_none().then_some(shown)
    })
    .await;
    assert_eq!(again.parked.error, "refused by policy");
    assert_eq!(again.followers, 1);
    assert_eq!(again.rulings.len(), 1);
    assert_eq!(again.rulings[0].principal, "ada");
    // the key stays blocked, and no other
    stack.write("k", &[b"later"]).await;
    stack.write("other", &[b"x"]).await;
    let parked = stack.until_parked(3).await;
    let behind: Vec<_> = parked.iter().map(|parked| parked.behind).collect();
    assert_eq!(behind, [None, Some(id_of(&bad)), Some(id_of(&bad))]);
    stack.check().await;
    assert_eq!(stack.bodies_of("k"), ["first"]);
    assert_eq!(stack.bodies_of("other"), ["x"]);
    relay.stop().await;
    stack.end().await;
}

#[tokio::test]
async fn a_record_that_is_skipped_while_it_is_tried_again_is_dropped() {
    let mut stack = Stack::start(1).await;
    let faults = strict();
    let relay = stack.strict_relay_with(&faults);
    let bad = stack.park_one("k").await;
    faults.hold.store(true, Ordering::Release);
    stack.decide(&bad, Verdict::Replay).await;
    eventually(LIMIT, "its answer is held", async || {
        faults.holding.load(Ordering::Acquire).then_some(())
    })
    .await;
    stack.decide(&bad, Verdict::Skip).await;
    faults.hold.store(false, Ordering::Release);
    faults.released.notify_one();
    stack.until_parked(0).await;
    stack.see_until("last").await;
    assert_eq!(stack.bodies_of("k"), ["first", "last"]);
    relay.stop().await;
    stack.end().await;
}

#[tokio::test]
async fn a_relay_that_is_killed_amid_a_replay_leaves_the_rest_to_its_successor() {
    let mut stack = Stack::start(1).await;
    let relay = stack.strict_relay();
    let bad = stack.park_one("k").await;
    for _ in 0..10 {
        stack.write("k", &[b"behind".as_slice(); 100]).await;
    }
    stack.until_parked(1_002).await;
    relay.stop().await;
    stack.decide(&bad, Verdict::Replay).await;

    // it has published the first and never hears of it
    let faults = Arc::new(Faults::default());
    faults.hold.store(true, Ordering::Release);
    let scripted = Scripted {
        inner: stack.producer(),
        faults,
    };
    let relay = RunningRelay::start(quick(), vec![stack.source()], scripted);
    stack.see(2).await;
    assert_eq!(stack.bodies(), ["first", "bad"]);
    relay.kill().await;
    assert_eq!(stack.parked().await.len(), 1_002);

    // the next is killed among those that are behind it
    let relay = stack.relay();
    eventually(LIMIT, "some are published", async || {
        (stack.parked().await.len() < 1_001).then_some(())
    })
    .await;
    relay.kill().await;
    let relay = stack.relay();
    eventually(LIMIT, "nothing is parked", async || {
        stack.parked().await.is_empty().then_some(())
    })
    .await;
    stack.write("k", &[b"at the end"]).await;
    stack.see_until("at the end").await;
    let sum = stack.check().await;
    assert_eq!(sum.committed, 1_004);
    assert!(sum.repeats >= 1, "the first was published twice");
    relay.stop().await;
    stack.end().await;
}

impl Stack {
    async fn see_until(&mut self, body: &str) {
        while self.bodies().last().map(String::as_str) != Some(body) {
            self.see(self.seen.len() + 1).await;
        }
    }
}

#[tokio::test]
async fn a_skip_drops_one_record_and_lets_those_behind_it_go() {
    let mut stack = Stack::start(1).await;
    let relay = stack.strict_relay();
    let bad = stack.park_one("k").await;
    stack.write("k", &[b"unwanted", b"wanted"]).await;
    let parked = stack.until_parked(4).await;
    let still = stack.park_one("still").await;
    // one that is behind: it alone is dropped, and the first still blocks
    stack.decide(&parked[2].record, Verdict::Skip).await;
    eventually(LIMIT, "it is gone", async || {
        (stack.parked().await.len() == 5).then_some(())
    })
    .await;
    stack.decide(&bad, Verdict::Skip).await;
    let left = stack.until_parked(2).await;
    assert_eq!(left[0].record, still);
    stack.write("k", &[b"later"]).await;
    stack.see_until("later").await;
    assert_eq!(stack.bodies_of("k"), ["first", "last", "wanted", "later"]);
    assert_eq!(stack.bodies_of("still"), ["first"]);
    relay.stop().await;
    stack.end().await;
}

#[tokio::test]
async fn in_a_log_too_a_replay_keeps_the_order_and_the_status_counts_what_is_left() {
    let mut stack = Stack::in_mode(Mode::Log, 1).await;
    stack.write("other", &[b"x", b"x"]).await;
    let waiting = status(&stack.db).await.unwrap();
    assert_eq!(waiting.pending.rows, 2);
    assert!(waiting.oldest_s.is_some());
    let relay = stack.strict_relay();
    let bad = stack.park_one("k").await;
    stack.drained().await;
    // the rows are there, and published
    let now = status(&stack.db).await.unwrap();
    assert_eq!((now.pending.rows, now.oldest_s), (0, None));
    assert!(now.pending.exact);
    let heads = lanes(&stack.db).await.unwrap();
    assert!(heads.iter().all(|lane| lane.head_id.is_none()));
    relay.stop().await;

    stack.decide(&bad, Verdict::Replay).await;
    let relay = stack.relay();
    for _ in 0..20 {
        stack.write("k", &[b"later"]).await;
    }
    eventually(LIMIT, "nothing is parked", async || {
        stack.parked().await.is_empty().then_some(())
    })
    .await;
    stack.check().await;
    assert_eq!(stack.bodies_of("k")[..3], ["first", "bad", "last"]);
    relay.stop().await;
    stack.end().await;
}

#[tokio::test]
async fn what_would_overtake_is_not_replayed() {
    let stack = Stack::start(1).await;
    let relay = stack.strict_relay();
    let bad = stack.park_one("k").await;
    let last = stack.parked().await[1].record.clone();
    let refused = decide(&stack.db, &last, Verdict::Replay, "ada", "x").await;
    let first = id_of(&bad);
    assert!(
        matches!(refused, Err(Refusal::Behind { first: f, .. }) if f == first),
        "{refused:?}"
    );
    let gone = Record::Outbox(first + 1_000);
    let refused = decide(&stack.db, &gone, Verdict::Skip, "ada", "x").await;
    assert!(matches!(refused, Err(Refusal::NotParked(_))), "{refused:?}");
    relay.stop().await;
    stack.end().await;
}

#[tokio::test]
async fn an_unknown_topic_is_replayed_once_the_dictionary_has_it() {
    let mut stack = Stack::start(1).await;
    execute(
        &stack.db,
        "CREATE TABLE known AS SELECT * FROM outbox_topic;
         DELETE FROM outbox_topic",
    )
    .await;
    let relay = stack.relay();
    stack.write("k", &[b"1", b"2", b"3"]).await;
    let parked = stack.until_parked(3).await;
    assert!(parked[0].error.contains("in no dictionary"));
    execute(&stack.db, "INSERT INTO outbox_topic SELECT * FROM known").await;
    stack.decide(&parked[0].record, Verdict::Replay).await;
    stack.see(3).await;
    assert_eq!(stack.bodies(), ["1", "2", "3"]);
    relay.stop().await;
    stack.end().await;
}

#[tokio::test]
async fn a_lane_that_is_paused_while_it_runs_is_not_read_and_waits_with_its_verdicts() {
    let mut stack = Stack::start(1).await;
    let mut relay = stack.strict_relay();
    relay.until("it has all", |status| status.lanes == 64).await;
    let bad = stack.park_one("k").await;
    let lane = lane_of(b"k");
    assert_ne!(lane_of(b"other"), lane);
    assert_eq!(set_paused(&stack.db, &[lane], true).await.unwrap(), [lane]);
    assert!(
        set_paused(&stack.db, &[lane], true)
            .await
            .unwrap()
            .is_empty()
    );
    stack.two_lease_rounds().await;
    stack.decide(&bad, Verdict::Skip).await;
    stack.write("k", &[b"held"]).await;
    stack.write("other", &[b"x"]).await;
    stack.see_until("x").await;
    stack.two_lease_rounds().await; // time enough
    assert_eq!(stack.parked().await.len(), 2);
    let seen = status(&stack.db).await.unwrap();
    assert_eq!((seen.lanes_paused, seen.pending.rows), (1, 1));
    assert!(seen.oldest_s.is_some_and(|age| age > 0.0));
    let shown = lanes(&stack.db).await.unwrap();
    let shown = &shown[usize::try_from(lane).unwrap()];
    assert!(shown.paused && shown.owner.is_some() && shown.lease_s.is_some());
    assert!(shown.head_id.is_some());

    set_paused(&stack.db, &[lane], false).await.unwrap();
    stack.see_until("held").await;
    assert_eq!(stack.bodies_of("k"), ["first", "last", "held"]);
    relay.stop().await;
    stack.end().await;
}

#[tokio::test]
async fn the_status_counts_what_there_is() {
    let stack = Stack::start(1).await;
    let before = status(&stack.db).await.unwrap();
    assert_eq!((before.lanes_owned, before.lanes_free), (0, 64));
    assert_eq!((before.workers, before.oldest_s), (0, None));
    let mut relay = stack.strict_relay();
    relay.until("it has all", |status| status.lanes == 64).await;
    stack.park_one("k").await;
    let now = status(&stack.db).await.unwrap();
    assert_eq!((now.lanes_owned, now.lanes_free, now.workers), (64, 0, 1));
    assert_eq!((now.outbox_parked.rows, now.consumer_parked.rows), (2, 0));
    assert!(now.outbox_parked.exact);
    relay.stop().await;
    stack.end().await;
}

/// Parks what a consumer got, as participants do.
async fn park_received(stack: &Stack, topic: Topic, offset: i64, headers: &Headers) -> Record {
    let topic = stack.kafka.topic_name(topic);
    sqlx::query!(
        "INSERT INTO consumer_parked (topic, partition, record_offset, key, headers, payload, error)
         VALUES ($1, 0, $2, 'a', $3, 'body', 'no such message')",
        topic,
        offset,
        headers.encode(),
    )
    .execute(stack.db.pool())
    .await
    .unwrap();
    Record::Consumer {
        topic,
        partition: 0,
        offset,
    }
}

#[tokio::test]
async fn what_a_consumer_parked_is_replayed_as_it_was_or_dropped() {
    let mut stack = Stack::start(1).await;
    let relay = stack.relay();
    let sent = record("a", b"body");
    let mut headers = sent.fixed_headers("test");
    let event_id = sent.event_id.0.to_string();
    let traceparent = sent.trace.traceparent();
    for (name, value) in [
        ("ce_id", event_id.as_str()),
        ("id", &event_id),
        ("ce_time", "2026-01-01T00:00:00Z"),
        ("traceparent", &traceparent),
    ] {
        headers.push(name, value);
    }
    let commands = Topic::from_suffix("order.commands").unwrap();
    let parked = park_received(&stack, commands, 7, &headers).await;
    assert_eq!(parked.to_string().parse(), Ok(parked.clone()));
    let shown = show(&stack.db, &parked).await.unwrap().unwrap();
    assert_eq!(
        (&*shown.payload, shown.headers),
        (&b"body"[..], headers.clone())
    );

    stack.decide(&parked, Verdict::Replay).await;
    let seen = stack.see(1).await[0].clone();
    assert_eq!(&*seen.topic, stack.kafka.topic_name(commands));
    assert_eq!(seen.event_id().unwrap(), sent.event_id);
    assert_eq!(seen.headers.text("traceparent"), Some(&*traceparent));
    assert_eq!(seen.kind().unwrap(), sent.kind);
    let ids = seen.headers.iter().filter(|(name, _)| *name == "ce_id");
    assert_eq!(ids.count(), 1);
    assert!(stack.parked().await.is_empty());

    // events are read in order; and without an id nothing can be told from others
    let event = park_received(&stack, events(), 8, &headers).await;
    let refused = decide(&stack.db, &event, Verdict::Replay, "ada", "x").await;
    assert!(
        matches!(refused, Err(Refusal::InOrder { .. })),
        "{refused:?}"
    );
    let nameless = park_received(&stack, commands, 9, &Headers::default()).await;
    let refused = decide(&stack.db, &nameless, Verdict::Replay, "ada", "x").await;
    assert!(
        matches!(refused, Err(Refusal::Unreadable(_))),
        "{refused:?}"
    );
    assert_eq!(stack.parked().await.len(), 2);
    stack.decide(&event, Verdict::Skip).await;
    stack.decide(&nameless, Verdict::Skip).await;
    assert!(stack.parked().await.is_empty());
    relay.stop().await;
    stack.end().await;
}
