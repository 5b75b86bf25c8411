use palinode_messaging::Producer;

use crate::consumer::{Member, Script};
use crate::stack::{Stack, numbered};

#[tokio::test]
async fn the_others_are_handled_once_and_in_order_and_offsets_pass_the_parked_ones() {
    let stack = Stack::start(1).await;
    let producer = Producer::start(&stack.kafka).unwrap();
    let poison = ["00000", "00001", "00006", "00010"].map(str::to_owned);
    let script = Script::default();
    script.poison.lock().unwrap().extend(poison.iter().cloned());
    stack.publish(&producer, "a", &numbered(0..11)).await;
    let member = Member::start(&stack, &script);
    let parked = || script.parked.lock().unwrap().clone();
    let good = numbered(0..11)
        .into_iter()
        .filter(|body| !poison.contains(body));
    let good: Vec<_> = good.collect();
    script
        .until("every record is settled", |committed| {
            committed.len() >= good.len() && parked().len() >= poison.len()
        })
        .await;
    assert_eq!(script.committed(), good);
    assert_eq!(parked(), poison);
    member.stop().await;

    let script = Script::default();
    let member = Member::start(&stack, &script);
    stack.publish(&producer, "a", &["marker".to_owned()]).await;
    let seen = script
        .until("the marker is handled", |c| !c.is_empty())
        .await;
    assert_eq!(seen, ["marker"]);
    member.stop().await;
    stack.end().await;
}
