use std::time::Duration;

use palinode_db::Area;
use palinode_lab::outbox::{
    Decision, Mode, Outboxes, Verdict, decide, lanes, list, set_mode, set_paused, show, status,
};
use palinode_lab::sagas::Format;
use palinode_lab::sagas::bulk::Consent;
use palinode_messaging::Headers;
use palinode_pb::inventory::v1::ReserveStockResult;
use palinode_pb::saga::v1::StepReply;
use palinode_pb::saga::v1::step_reply::{Answer, Done};
use palinode_testkit::eventually;
use prost::{Message, Name};
use serde_json::{Value as Json, json};

use crate::rig::{Rig, mugs, wallet};

const LIMIT: Duration = Duration::from_secs(30);

/// What a question about the outboxes is answered, as JSON.
macro_rules! asked {
    ($question:ident($($argument:expr),*)) => {{
        let mut out = Vec::new();
        let answer = $question($($argument,)* Format::Json, &mut out).await.unwrap();
        (answer, serde_json::from_slice::<Json>(&out).unwrap())
    }};
}

impl Rig {
    async fn outboxes(&self, service: Option<&str>) -> Outboxes {
        let server = &self.backing.database_url;
        Outboxes::open(server, service).await.unwrap()
    }

    async fn execute(&self, area: Area, sql: &'static str) {
        sqlx::raw_sql(sql)
            .execute(&mut self.connect(area).await)
            .await
            .unwrap();
    }
}

async fn until_parked(outboxes: &Outboxes, count: usize) -> Vec<Json> {
    eventually(LIMIT, "records are parked", async || {
        let (_, told) = asked!(list(outboxes, 100));
        let parked = told["parked"].as_array().unwrap().clone();
        (parked.len() == count).then_some(parked)
    })
    .await
}

/// Places an order, and waits for its end.
async fn place_one(rig: &Rig) {
    let order = mugs("alice", "DE", wallet());
    let answer = rig.gateway.order(&order, None).await.unwrap();
    let placed = answer.success().unwrap();
    let order = rig.decided(placed["orderId"].as_str().unwrap()).await;
    assert_eq!(order["status"], "ORDER_STATUS_CONFIRMED");
}

fn decision(verdict: Verdict, records: &[&Json]) -> Decision {
    let name = |record: &&Json| record["record"].as_str().unwrap().to_owned();
    Decision {
        records: records.iter().map(name).collect(),
        verdict,
        principal: "ada".to_owned(),
        reason: "it was a test".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_record_is_seen_and_decided_about() {
    let rig = Rig::start(async |_| {}).await;
    let outboxes = rig.outboxes(None).await;
    let (_, told) = asked!(status(&outboxes));
    let services: Vec<_> = told["outboxes"].as_array().unwrap().iter().collect();
    assert_eq!(services.len(), 7, "{told:#}");

    rig.execute(
        Area::Order,
        "INSERT INTO outbox (lane, topic, event_id, key, headers, payload)
         SELECT 0, 999, gen_random_uuid(), 'a', '', '' FROM generate_series(1, 3)",
    )
    .await;
    let parked = until_parked(&outboxes, 3).await;
    assert_eq!(parked[0]["error"], "topic number 999 is in no dictionary");
    assert_eq!(parked[1]["behind"], parked[0]["record"]);
    let (good, told) = asked!(status(&outboxes));
    let order = told["outboxes"].as_array().unwrap().iter();
    let order = order.clone().find(|o| o["service"] == "order").unwrap();
    assert!(!good);
    assert_eq!(
        order["hints"][0]["run"],
        "palinode outbox parked --service order"
    );

    // what is behind cannot be replayed, and nothing is done without consent
    let behind = decision(Verdict::Replay, &[&parked[1]]);
    let mut out = Vec::new();
    let refused = decide(&outboxes, &behind, Consent::Given, Format::Json, &mut out).await;
    assert!(refused.unwrap_err().to_string().contains("is behind"));
    let skip = decision(Verdict::Skip, &[&parked[0]]);
    let (done, preview) = asked!(decide(&outboxes, &skip, Consent::Nobody));
    assert!(!done);
    assert_eq!(
        preview["preview"][0]["would_be"],
        "dropped for good, then the 2 behind it published"
    );
    until_parked(&outboxes, 3).await;

    // its fault still stands
    let replay = decision(Verdict::Replay, &[&parked[0]]);
    let (done, told) = asked!(decide(&outboxes, &replay, Consent::Given));
    assert!(!done);
    let words = told["decided"][0]["outcome"].as_str().unwrap();
    assert!(words.starts_with("parked again: topic number"), "{words}");
    let name = parked[0]["record"].as_str().unwrap();
    let ((), shown) = asked!(show(&outboxes, name));
    assert_eq!(shown["followers"], 2);
    assert_eq!(shown["decided"][0]["principal"], "ada");

    // the next one is the culprit then
    let (done, _) = asked!(decide(&outboxes, &skip, Consent::Given));
    assert!(done);
    let left = until_parked(&outboxes, 2).await;
    assert_eq!(left[0]["record"], parked[1]["record"]);
    let skip = decision(Verdict::Skip, &[&left[0], &left[1]]);
    let (done, _) = asked!(decide(&outboxes, &skip, Consent::Given));
    assert!(done);
    let (good, _) = asked!(list(&outboxes, 100));
    assert!(good);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_outbox_or_all_become_logs_and_queues_again() {
    let rig = Rig::start(async |_| {}).await;
    let (one, all) = (rig.outboxes(Some("order")).await, rig.outboxes(None).await);
    let ((), told) = asked!(set_mode(&one, Mode::Log));
    let expected = json!([{"service": "order", "was": "queue", "mode": "log"}]);
    assert_eq!(told["outboxes"], expected);
    let ((), told) = asked!(set_mode(&all, Mode::Log));
    let order = told["outboxes"].as_array().unwrap().iter();
    let order = order.clone().find(|o| o["service"] == "order").unwrap();
    assert_eq!(
        (&order["was"], &order["mode"]),
        (&json!("log"), &json!("log"))
    );
    place_one(&rig).await;

    // as after a restore
    rig.execute(
        Area::Order,
        "UPDATE outbox_log SET system_identifier = system_identifier + 1",
    )
    .await;
    let (good, told) = asked!(status(&one));
    assert!(!good);
    let order = &told["outboxes"][0];
    assert_eq!(order["mode"], "log (restored)");
    let way_out = "palinode outbox mode log --service order";
    assert_eq!(order["hints"][0]["run"], way_out);
    let ((), told) = asked!(set_mode(&one, Mode::Log));
    assert_eq!(told["outboxes"][0]["mode"], "log");

    let ((), told) = asked!(set_mode(&all, Mode::Queue));
    let mut modes = told["outboxes"].as_array().unwrap().iter();
    assert!(modes.all(|outbox| outbox["mode"] == "queue"), "{told:#}");
    place_one(&rig).await;
    eventually(LIMIT, "all is published", async || {
        let (good, _) = asked!(status(&all));
        good.then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_are_paused_in_one_outbox_or_in_all() {
    let rig = Rig::start(async |_| {}).await;
    let (one, all) = (rig.outboxes(Some("order")).await, rig.outboxes(None).await);
    let ((), changed) = asked!(set_paused(&one, &[3, 4], true));
    assert_eq!(
        changed["changed"],
        json!([{"service": "order", "lanes": [3, 4]}])
    );
    let ((), told) = asked!(lanes(&all));
    let paused = told["lanes"].as_array().unwrap().iter();
    let paused = paused.filter(|lane| lane["paused"] == true);
    let paused: Vec<_> = paused
        .map(|lane| (&lane["service"], &lane["lane"]))
        .collect();
    assert_eq!(
        paused,
        [(&json!("order"), &json!(3)), (&json!("order"), &json!(4))]
    );
    let ((), changed) = asked!(set_paused(&all, &[3, 4], false));
    let lanes = changed["changed"].as_array().unwrap().iter();
    assert_eq!(lanes.filter(|of| of["lanes"] == json!([3, 4])).count(), 1);
    let wrong = Outboxes::open(&rig.backing.database_url, Some("gateway")).await;
    assert!(wrong.unwrap_err().to_string().contains("orchestrator"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_consumer_parked_is_shown_as_json_and_handled_again() {
    let rig = Rig::start(async |_| {}).await;
    let outboxes = rig.outboxes(None).await;
    let result = ReserveStockResult {
        reservation_id: "r-1".to_owned(),
    };
    let output = prost_types::Any {
        type_url: ReserveStockResult::type_url(),
        value: result.encode_to_vec(),
    };
    let reply = StepReply {
        answer: Some(Answer::Done(Done {
            output: Some(output),
        })),
    };
    // no headers of a saga: whoever gets it parks it
    let mut headers = Headers::default();
    headers.push("ce_type", StepReply::full_name());
    headers.push("ce_id", "0197a1c2-7b1e-7c3a-9d2f-3f5b0c9e1a42");
    sqlx::query(
        "INSERT INTO consumer_parked (topic, partition, record_offset, key, headers, payload, error)
         VALUES ('test.orchestrator.replies', 0, 70, 'a', $1, $2, 'of before')",
    )
    .bind(headers.encode())
    .bind(reply.encode_to_vec())
    .execute(&mut rig.connect(Area::Saga).await)
    .await
    .unwrap();
    let parked = until_parked(&outboxes, 1).await;
    let name = parked[0]["record"].as_str().unwrap();
    assert_eq!(name, "orchestrator/test.orchestrator.replies/0/70");
    let ((), shown) = asked!(show(&outboxes, name));
    assert_eq!(
        shown["body"]["done"]["output"]["reservationId"], "r-1",
        "{shown:#}"
    );

    let replay = decision(Verdict::Replay, &[&parked[0]]);
    let (done, _) = asked!(decide(&outboxes, &replay, Consent::Given));
    assert!(done);
    let again = eventually(LIMIT, "it is parked by who handled it again", async || {
        let (_, told) = asked!(list(&outboxes, 100));
        told["parked"].get(0).cloned()
    })
    .await;
    assert_ne!(again["record"], parked[0]["record"]);
    assert_ne!(again["error"], "of before");
}
