use palinode_messaging::{BatchHandler, Received};
use palinode_telemetry::Tracer;
use palinode_values::SagaId;

use crate::fixture::{Fixture, act, connect, participant, undo};

/// New rows and rows that are there, in opposite orders, from two participants.
#[tokio::test]
async fn the_same_commands_in_opposite_order_neither_deadlock_nor_happen_twice() {
    let mut fixture = Fixture::new().await;
    for round in 0..20 {
        let sagas: Vec<SagaId> = (0..40).map(|_| fixture.saga()).collect();
        let known: Vec<Received> = sagas
            .iter()
            .step_by(3)
            .map(|saga| act(*saga, "transient").at(round))
            .collect();
        fixture.deliver(&known).await;
        let forward: Vec<Received> = sagas.iter().map(|saga| act(*saga, "a").at(round)).collect();
        let backward: Vec<Received> = forward.iter().rev().cloned().collect();
        let mut one = participant(&connect(&fixture.database).await, Tracer::disabled());
        let mut two = participant(&connect(&fixture.database).await, Tracer::disabled());
        let (one, two) = tokio::join!(one.handle(&forward), two.handle(&backward),);
        one.unwrap();
        two.unwrap();
        let said = fixture.said().await;
        assert_eq!(said.answers(), vec!["done"; 80]);
        assert_eq!(said.events.len(), 40);
    }
}

/// Rows that are written ahead and rows that are locked, in opposite orders, from two participants.
#[tokio::test]
async fn the_same_undos_in_opposite_order_neither_deadlock_nor_happen_twice() {
    let mut fixture = Fixture::new().await;
    for round in 0..20 {
        let sagas: Vec<SagaId> = (0..40).map(|_| fixture.saga()).collect();
        let texts = ["a", "a", "fail"].into_iter().cycle();
        let acted = sagas.iter().zip(texts).map(|(s, text)| act(*s, text));
        let acted: Vec<Received> = acted.map(|sent| sent.at(round)).collect();
        fixture.deliver(&acted).await;
        let undos = sagas.iter().map(|saga| undo(*saga, "undo").at(round));
        let forward: Vec<Received> = undos.collect();
        let backward: Vec<Received> = forward.iter().rev().cloned().collect();
        let mut one = participant(&connect(&fixture.database).await, Tracer::disabled());
        let mut two = participant(&connect(&fixture.database).await, Tracer::disabled());
        let (one, two) = tokio::join!(one.handle(&forward), two.handle(&backward));
        one.unwrap();
        two.unwrap();
        let said = fixture.said().await;
        let undone = said.answers().iter().filter(|a| **a == "undone").count();
        assert_eq!((said.replies.len(), undone), (80, 54));
        assert_eq!(said.events.len(), 27);
    }
}
