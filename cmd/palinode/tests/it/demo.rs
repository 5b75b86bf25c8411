use std::time::Duration;

use futures_util::future::join;
use serde_json::Value as Json;

use crate::kafka;
use crate::shop::Shop;
use crate::tool::Tool;

/// A consumer that was killed is missed only when its session ends, which takes the in-process
/// broker 45 s.
const LIMIT: Duration = Duration::from_secs(300);

/// Runs a demo that must be good; its report and all it said.
async fn demo(arguments: &[&str]) -> (Json, String) {
    let tool = Tool::start(&[&["demo", "--json"], arguments].concat());
    let said = tool.ended(LIMIT).await.with(0).stdout;
    let report: Json = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    let mut keys: Vec<_> = report.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(
        keys,
        [
            "compensated",
            "completed",
            "needs_attention",
            "orders",
            "p50_ms",
            "p99_ms",
            "sagas_per_s",
            "unfinished",
            "violations",
        ]
    );
    assert_eq!(report["violations"], Json::Array(Vec::new()), "{said}");
    for (key, count) in [("unfinished", 0), ("needs_attention", 0)] {
        assert_eq!(report[key], count, "{said}");
    }
    for outcome in ["completed", "compensated"] {
        assert!(report[outcome].as_u64().unwrap() > 0, "{said}");
    }
    (report, said)
}

#[tokio::test]
async fn a_demo_is_decided_by_its_seed() {
    let calm = ["--embedded", "--orders", "60", "--seed", "7"];
    let ((one, said), (two, _)) = join(demo(&calm), demo(&calm)).await;
    assert_eq!(one["orders"], 60);
    for outcome in ["completed", "compensated"] {
        assert_eq!(one[outcome], two[outcome]);
    }
    assert!(!said.contains("skipped"), "all is checked:\n{said}");
}

#[tokio::test]
async fn a_demo_on_a_running_stack_says_what_it_did_not_check() {
    let shop = Shop::shared().await;
    let (report, said) = demo(&["--server", shop.gateway.server(), "--orders", "20"]).await;
    assert_eq!(report["orders"], 20);
    assert!(said.contains("skipped  ledger-sums-to-zero"), "{said}");
    assert!(said.contains("holds    one-order-a-key"), "{said}");
}

#[tokio::test]
async fn sagas_survive_the_death_of_each_process() {
    let (report, _) = demo(&["--chaos", "--embedded", "--orders", "60"]).await;
    assert_eq!(report["orders"], 60);
}

#[tokio::test]
async fn both_demos_run_on_one_real_kafka() {
    let Some(address) = kafka::given("demo::both_demos_run_on_one_real_kafka") else {
        return;
    };
    for mode in [&["--chaos"][..], &[]] {
        let real = ["--kafka", &address, "--orders", "60"];
        let (report, _) = demo(&[mode, &real].concat()).await;
        assert_eq!(report["orders"], 60);
    }
}
