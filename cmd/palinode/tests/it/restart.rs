use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::{join, join_all};
use palinode_testkit::eventually;
use palinode_values::{Clock, Timestamp};
use rustix::process::Signal;

use crate::shop::{Shop, id, order};
use crate::tool::{SOON, Tool};

const PRICE: i64 = 1_290;
/// A stop is asked for and waited for, so it is over soon.
const STOP_LIMIT: Duration = Duration::from_secs(20);

fn dev(data_dir: &Path) -> Tool {
    let data_dir = data_dir.to_str().unwrap();
    Tool::start(&["dev", "--port", "0", "--data-dir", data_dir])
}

fn is_running(pid: &str) -> bool {
    let status = Command::new("ps").args(["-o", "stat=", "-p", pid]).output();
    let status = String::from_utf8(status.unwrap().stdout).unwrap();
    // of a zombie nothing is left but its name
    !status.trim().is_empty() && !status.starts_with('Z')
}

/// Orders by their keys; without an id where no answer came.
type Orders = BTreeMap<String, Option<String>>;

/// Eight clients place orders until there is nobody to take them, which `end` brings about once
/// `count` were taken.
async fn place_until(shop: &Shop, count: usize, end: impl FnOnce()) -> Orders {
    let orders = Mutex::new(Orders::new());
    let client = async |client: u32| {
        for number in 0.. {
            let key = format!("{client}-{number}");
            orders.lock().unwrap().insert(key.clone(), None);
            let body = order("alice", "mug-blue");
            let answer = shop.gateway.order(&body, Some(&key)).await;
            let Ok(answer) = answer.and_then(|answer| answer.success()) else {
                return;
            };
            orders.lock().unwrap().insert(key, Some(id(&answer)));
        }
    };
    let ending = async {
        eventually(SOON, "the orders are placed", async || {
            let taken = orders.lock().unwrap().values().flatten().count();
            (taken >= count).then_some(())
        })
        .await;
        end();
    };
    join(join_all((0..8).map(client)), ending).await;
    orders.into_inner().unwrap()
}

#[tokio::test]
async fn a_dev_that_is_killed_or_stopped_amid_sagas_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");

    let first = dev(&data_dir);
    let shop = Shop::at(&first.ready().await);
    let (money, stock) = (shop.money("alice").await, shop.stock("mug-blue").await);
    let postmaster = fs::read_to_string(data_dir.join("pgdata/postmaster.pid")).unwrap();
    let postmaster = postmaster.lines().next().unwrap();
    assert!(is_running(postmaster));
    let mut killed = Timestamp::UNIX_EPOCH;
    let orders = place_until(&shop, 40, || {
        killed = Clock::system().now();
        first.signal(Signal::KILL);
    })
    .await;
    eventually(SOON, "PostgreSQL ends with it", async || {
        (!is_running(postmaster)).then_some(())
    })
    .await;

    let second = dev(&data_dir);
    let shop = Shop::at(&second.ready().await);
    let third = dev(&data_dir).ended(SOON).await.with(1);
    third.complains(&[
        "data",
        "is in use by another Palinode",
        "choose another folder",
    ]);

    // whoever had no answer asks again, with the same key
    let mut ids = Vec::new();
    for (key, taken) in &orders {
        let body = order("alice", "mug-blue");
        let answer = shop.gateway.order(&body, Some(key)).await;
        let again = id(&answer.unwrap().success().unwrap());
        assert!(taken.as_ref().is_none_or(|id| *id == again), "{key}");
        ids.push(again);
    }
    let decided = shop.decided(&ids).await;
    let late = decided.iter().filter(|order| {
        let at = order["updatedAt"].as_str().unwrap();
        at.parse::<Timestamp>().unwrap() > killed
    });
    assert_ne!(late.count(), 0, "it was killed after the last decision");

    let more = place_until(&shop, 20, || second.signal(Signal::TERM)).await;
    second.ended(STOP_LIMIT).await.with(0);
    let fourth = dev(&data_dir);
    let shop = Shop::at(&fourth.ready().await);
    assert!(more.len() >= 20);
    let all: Vec<_> = shop.orders_of("alice").await.iter().map(id).collect();
    for order in shop.decided(&all).await {
        assert_eq!(order["status"], "ORDER_STATUS_CONFIRMED", "{order}");
    }
    let sold = i64::try_from(all.len()).unwrap();
    assert_eq!(shop.money("alice").await, money - sold * PRICE);
    // stock is committed beside the confirmation, and that may be later
    let committed = async || (shop.stock("mug-blue").await == (stock.0 - sold, 0)).then_some(());
    eventually(SOON, "the stock is committed", committed).await;
    fourth.signal(Signal::INT);
    fourth.ended(STOP_LIMIT).await.with(0);
}
