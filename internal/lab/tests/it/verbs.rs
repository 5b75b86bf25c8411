use std::time::Duration;

use palinode_db::Area;
use palinode_lab::invariants::orphans;
use palinode_lab::sagas::Format;
use palinode_lab::sagas::bulk::{Consent, Question, answer, bulk};
use palinode_testkit::eventually;
use serde_json::{Value as Json, json};
use sqlx::Executor;

use crate::rig::{Rig, mugs};

const LIMIT: Duration = Duration::from_secs(30);

impl Rig {
    /// Waits until the order's saga has that state.
    async fn saga_in(&self, saga: &str, state: &str) -> Json {
        eventually(LIMIT, state, async || {
            let answer = self.gateway.get(&format!("/v1/sagas/{saga}")).await;
            // its start may still be on its way
            let saga = answer.unwrap().success().ok()?;
            (saga["state"] == state).then_some(saga)
        })
        .await
    }

    async fn act(&self, saga: &str, verb: &str, body: Json, more: Json) -> anyhow::Result<Json> {
        let mut request = json!({"reason": "paid by bank transfer", verb: body});
        for (field, value) in more.as_object().unwrap() {
            request[field] = value.clone();
        }
        let path = format!("/v1/sagas/{saga}:act");
        // what was refused, or only looked at, leaves it free
        let key = format!("{verb}-{saga}");
        self.gateway
            .post(&path, &request, Some(&key))
            .await?
            .success()
    }
}

/// An order that nobody can carry, paid by a card that is closed by now: the refund is stuck.
async fn stuck(rig: &Rig) -> (String, Json) {
    let card = json!({"card": {"token": "tok_closed"}});
    let body = mugs("alice", "AQ", card);
    let placed = rig.gateway.order(&body, None).await.unwrap();
    let saga = placed.success().unwrap()["sagaId"]
        .as_str()
        .unwrap()
        .to_owned();
    let shown = rig.saga_in(&saga, "SAGA_STATE_NEEDS_ATTENTION").await;
    (saga, shown)
}

fn standing(saga: &Json, step: &str) -> String {
    let entries = saga["ledger"].as_array().unwrap();
    let entry = entries.iter().find(|entry| entry["step"] == step).unwrap();
    entry["standing"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_cannot_be_made_is_settled_by_hand() {
    let rig = Rig::start(async |_| {}).await;
    let (saga, shown) = stuck(&rig).await;
    assert_eq!(standing(&shown, "charge-payment"), "done");
    let accepts: Vec<&str> = shown["accepts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_str().unwrap())
        .collect();
    assert_eq!(accepts, ["retry", "resolve", "accept-residue", "abandon"]);

    let refused = rig
        .act(&saga, "cancel", json!({}), json!({}))
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("accepted now: retry"),
        "{refused}"
    );

    let claim = json!({"step": "charge-payment", "claim": "CLAIM_UNDONE"});
    let preview = json!({"preview": true});
    let would = rig
        .act(&saga, "resolve", claim.clone(), preview)
        .await
        .unwrap();
    assert_eq!(
        would["effects"],
        json!(["probe the undo of charge-payment #2"])
    );
    let resolve = || rig.act(&saga, "resolve", claim.clone(), json!({}));
    let resolved = resolve().await.unwrap();
    let ended = rig.saga_in(&saga, "SAGA_STATE_COMPENSATED").await;
    // whoever did not hear the answer asks again, and is told it with the saga as it is now
    let told = resolve().await.unwrap();
    assert_eq!(told["effects"], resolved["effects"]);
    assert_eq!(told["changed"], resolved["changed"]);
    assert_eq!(told["saga"]["state"], "SAGA_STATE_COMPENSATED");
    let wrong = json!({"reason": "paid in cash", "resolve": claim});
    let (path, key) = (format!("/v1/sagas/{saga}:act"), format!("resolve-{saga}"));
    let reused = rig.gateway.post(&path, &wrong, Some(&key)).await.unwrap();
    assert_eq!(reused.status.as_u16(), 409);
    assert_eq!(standing(&ended, "charge-payment"), "netted");
    assert_eq!(standing(&ended, "reserve-stock"), "netted");
}

#[tokio::test(flavor = "multi_thread")]
async fn accepted_residue_stays_listed_and_the_rest_is_taken_back() {
    let rig = Rig::start(async |_| {}).await;
    let (saga, shown) = stuck(&rig).await;
    let steps = json!({"steps": ["charge-payment"]});
    let old = json!({"expectedVersion": "1"});
    let stale = rig.act(&saga, "acceptResidue", steps.clone(), old).await;
    assert!(stale.unwrap_err().to_string().contains("has moved on"));
    let upon = json!({"expectedVersion": shown["version"]});
    rig.act(&saga, "acceptResidue", steps, upon).await.unwrap();
    let closed = eventually(LIMIT, "the case is closed", async || {
        let saga = rig.saga_in(&saga, "SAGA_STATE_NEEDS_ATTENTION").await;
        (saga["closed"] == "residue-accepted").then_some(saga)
    })
    .await;
    assert_eq!(standing(&closed, "charge-payment"), "waived");
    assert_eq!(standing(&closed, "reserve-stock"), "netted");
    assert_eq!(standing(&closed, "open-order"), "netted");
    assert_eq!(closed["accepts"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_shows_its_counts_and_then_acts_on_each_saga() {
    let rig = Rig::start(async |_| {}).await;
    let (first, second) = tokio::join!(stuck(&rig), stuck(&rig));
    let request = json!({
        "filter": {"participant": "payment", "state": "SAGA_STATE_NEEDS_ATTENTION"},
        "abandon": {},
        "reason": "test data",
    });
    let run = async |consent| {
        let mut out = Vec::new();
        let done = bulk(&rig.gateway, &request, consent, Format::Table, &mut out).await;
        (done.unwrap(), String::from_utf8(out).unwrap())
    };
    let (done, told) = run(Consent::Nobody).await;
    assert!(!done, "nobody has said yes");
    assert!(told.contains("abandon: 2 sagas, 50 a second"), "{told}");
    assert!(told.contains("be closed as it is"), "{told}");
    assert!(told.contains("palinode saga bulks run "), "{told}");
    let prepared = told.lines().next().unwrap().trim_start_matches("bulk ");

    let (done, told) = run(Consent::Given).await;
    assert!(done, "{told}");
    assert!(told.contains("done: 2 of 2: 2 done"), "{told}");
    for (saga, _) in [&first, &second] {
        let closed = rig.saga_in(saga, "SAGA_STATE_NEEDS_ATTENTION").await;
        assert_eq!(closed["closed"], "abandoned");
        let history = rig
            .gateway
            .get(&format!("/v1/sagas/{saga}/history"))
            .await
            .unwrap();
        let history = history.success().unwrap();
        let last = history["entries"].as_array().unwrap().last().unwrap();
        assert_eq!(last["reason"], "test data");
        assert_ne!(last["bulkId"], "");
    }
    // what was prepared before has moved on meanwhile
    let question = Question::Run(prepared.to_owned());
    let mut out = Vec::new();
    let done = answer(&rig.gateway, &question, Format::Table, &mut out).await;
    assert!(done.unwrap());
    let told = String::from_utf8(out).unwrap();
    assert!(told.contains("0 done, 2 moved on meanwhile"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_saga_is_settled_under_another_version_of_its_plan() {
    let rig = Rig::start(async |_| {}).await;
    let (saga, shown) = stuck(&rig).await;
    assert_eq!(shown["planVersion"], 1);
    let to = json!({"toVersion": 2});
    let moved = rig.act(&saga, "migrate", to, json!({})).await.unwrap();
    assert_eq!(moved["saga"]["planVersion"], 2);
    let claim = json!({"step": "charge-payment", "claim": "CLAIM_UNDONE"});
    rig.act(&saga, "resolve", claim, json!({})).await.unwrap();
    let ended = rig.saga_in(&saga, "SAGA_STATE_COMPENSATED").await;
    assert_eq!(ended["planVersion"], 2);
    assert_eq!(standing(&ended, "reserve-stock"), "netted");
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_of_a_saga_that_is_gone_are_orphans() {
    let rig = Rig::start(async |_| {}).await;
    let (saga, _) = stuck(&rig).await;
    let server = rig.backing.database_url.clone();
    assert_eq!(orphans(&server).await.unwrap(), []);
    // the orchestrator's database is restored to a moment before the saga; that was a while ago
    let forget = "TRUNCATE saga CASCADE";
    rig.connect(Area::Saga).await.execute(forget).await.unwrap();
    for area in [Area::Order, Area::Inventory, Area::Payment, Area::Shipping] {
        let age = "UPDATE saga_guard SET updated_at = now() - interval '1 h'";
        rig.connect(area).await.execute(age).await.unwrap();
    }
    let found = orphans(&server).await.unwrap();
    let told: Vec<_> = found
        .iter()
        .map(|o| (o.step.as_str(), o.guard.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("arrange-shipping", "failed/none"),
            ("charge-payment", "done/none"),
            ("open-order", "done/none"),
            ("reserve-stock", "done/none"),
        ]
    );
    assert!(found.iter().all(|orphan| orphan.saga == saga));
}
