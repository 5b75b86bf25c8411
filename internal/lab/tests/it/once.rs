use std::collections::BTreeSet;

use futures_util::future::join_all;
use palinode_db::Area;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::rig::{Rig, mugs, wallet};

const CALLS: usize = 1_000;

/// Each call has a connection of its own, and both ends of it are in this process.
fn allow_connections() {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, most).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_calls_at_once_with_one_key_are_one_order_one_saga_and_one_charge() {
    allow_connections();
    let rig = Rig::start(async |_| {}).await;
    let body = mugs("alice", "DE", wallet());
    // one after the other has its turn: who waits for too long asks again, as a client would
    let calls = (0..CALLS).map(async |_| {
        for _ in 0..10 {
            let answer = rig.gateway.order(&body, Some("once")).await;
            match answer {
                Ok(answer) if answer.status.as_u16() < 503 => return answer,
                Ok(_) | Err(_) => {}
            }
        }
        panic!("no answer in ten calls")
    });
    let mut created = 0;
    let mut ids = BTreeSet::new();
    for answer in join_all(calls).await {
        created += usize::from(answer.status == 201);
        let order = answer.success().unwrap();
        ids.insert(order["orderId"].as_str().unwrap().to_owned());
    }
    // it may have been told to a caller who had gone
    assert!(created <= 1, "{created} callers have created it");
    assert_eq!(ids.len(), 1);
    let id = ids.into_iter().next().unwrap();
    let order = rig.decided(&id).await;
    assert_eq!(order["status"], "ORDER_STATUS_CONFIRMED");
    for (area, count) in [
        (Area::Order, "SELECT count(*) FROM orders"),
        (Area::Saga, "SELECT count(*) FROM saga"),
        (Area::Payment, "SELECT count(*) FROM payment"),
        (Area::Inventory, "SELECT count(*) FROM reservation"),
        (Area::Shipping, "SELECT count(*) FROM shipment"),
    ] {
        let found: i64 = sqlx::query_scalar(count)
            .fetch_one(&mut rig.connect(area).await)
            .await
            .unwrap();
        assert_eq!(found, 1, "{count}");
    }
    let purse = rig.gateway.user("alice").get("/v1/wallet").await.unwrap();
    let purse = purse.success().unwrap();
    assert_eq!(
        (&purse["balance"]["units"], &purse["balance"]["nanos"]),
        (&"989974".into(), &200_000_000.into())
    );
}
