use palinode_pb::saga::v1::saga_service_server::SagaService;
use palinode_pb::saga::v1::{
    AcknowledgeSagaRequest, Case, GetSagaRequest, ListCasesRequest, ListCasesResponse,
};
use tonic::Request;

use super::*;
use crate::rpc::Sagas;

impl World {
    fn sagas(&self) -> Sagas {
        Sagas {
            engine: self.engine.clone(),
        }
    }

    async fn case_page(&self, request: ListCasesRequest) -> ListCasesResponse {
        let page = self.sagas().list_cases(Request::new(request)).await;
        page.unwrap().into_inner()
    }

    async fn cases(&self) -> Vec<Case> {
        self.case_page(ListCasesRequest::default()).await.cases
    }

    async fn classes(&self) -> Vec<(String, String)> {
        let cases = self.cases().await.into_iter();
        cases.map(|case| (case.saga_id, case.class)).collect()
    }

    async fn why(&self, id: SagaId) -> String {
        let request = GetSagaRequest {
            saga_id: id.to_string(),
        };
        let found = self.sagas().get_saga(Request::new(request)).await.unwrap();
        found.into_inner().saga.unwrap().waits_for
    }

    async fn park(&self, id: SagaId, error: &str) {
        self.run(&format!(
            "WITH gone AS (DELETE FROM outbox WHERE key = convert_to('{id}', 'UTF8') RETURNING *)
             INSERT INTO outbox_parked (id, lane, topic, event_id, created_at, key, headers,
                                        payload, error)
             SELECT id, lane, topic, event_id, created_at, key, headers, payload, '{error}'
               FROM gone"
        ))
        .await;
    }
}

fn stuck_refund(id: SagaId) -> Reply {
    let cannot = Answer::CannotUndo {
        reason: "CARD_CLOSED".to_owned(),
    };
    reply(id, "charge-payment", Direction::Backward, cannot)
}

#[tokio::test]
async fn a_case_opens_with_its_reason_and_closes_with_it() {
    let world = World::new().await;
    let (id, healthy) = (world.started("o-1").await, world.started("o-2").await);
    assert_eq!(world.classes().await, []);
    for one in [reserved(id), charged(id), failed(id, "arrange-shipping")] {
        world.replies(vec![one]).await;
    }
    // a compensation that does not come to an end
    let set = |what: &str| format!("UPDATE saga SET {what} WHERE id = '{id}'");
    world
        .run(&set("owed_since = now() - interval '11 min'"))
        .await;
    let cases = world.cases().await;
    assert_eq!(cases.len(), 1);
    assert_eq!(cases[0].class, "attention");
    assert!(
        cases[0].sentence.contains("charge-payment"),
        "{}",
        cases[0].sentence
    );
    assert_eq!(cases[0].helps, ["retry"]);
    // it cannot be undone: now it needs attention
    world.replies(vec![stuck_refund(id)]).await;
    let page = world.case_page(ListCasesRequest::default()).await;
    assert_eq!(page.cases[0].class, "needs_attention");
    assert!(
        page.cases[0].sentence.contains("CARD_CLOSED"),
        "{}",
        page.cases[0].sentence
    );
    assert!(page.cases[0].helps.contains(&"accept-residue".to_owned()));
    let counts: Vec<_> = page
        .counts
        .iter()
        .map(|c| (c.class.as_str(), c.count))
        .collect();
    assert_eq!(counts, [("needs_attention", 1)]);
    // an undo after all: the case is closed
    world.replies(vec![undone(id, "charge-payment")]).await;
    assert_eq!(world.classes().await, []);
    // past its deadline, though its pivot is done
    for one in [reserved(healthy), charged(healthy), shipped(healthy)] {
        world.replies(vec![one]).await;
    }
    world
        .run(&format!(
            "UPDATE saga SET started_at = now() - interval '3 min' WHERE id = '{healthy}'"
        ))
        .await;
    assert_eq!(
        world.classes().await,
        [(healthy.to_string(), "overdue".to_owned())]
    );
}

#[tokio::test]
async fn a_contradiction_is_a_case_of_an_ended_saga_until_somebody_has_looked_at_it() {
    let world = World::new().await;
    let id = world.started("o-1").await;
    world.replies(vec![failed(id, "reserve-stock")]).await;
    world.replies(vec![undone(id, "open-order")]).await;
    world.replies(vec![reserved(id)]).await;
    let cases = world.cases().await;
    assert_eq!(
        (cases[0].class.as_str(), &cases[0].helps[..]),
        ("contradiction", &["acknowledge".to_owned()][..])
    );
    let request = AcknowledgeSagaRequest {
        saga_id: id.to_string(),
    };
    let done = world.sagas().acknowledge_saga(operator(request)).await;
    assert_eq!(done.unwrap().into_inner().count, 1);
    assert_eq!(world.classes().await, []);
}

#[tokio::test]
async fn cases_come_in_pages_and_one_that_cannot_be_read_hides_no_other() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(world.started(&format!("o-{n}")).await);
    }
    let long_ago = "progress_at = now() - interval '1 h', started_at = now() - interval '1 h'";
    world.run(&format!("UPDATE saga SET {long_ago}")).await;
    world
        .run(&format!(
            "UPDATE saga SET body = 'x' WHERE id = '{}'",
            ids[2]
        ))
        .await;
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let request = ListCasesRequest {
            page_size: 3,
            page_token: token,
            ..ListCasesRequest::default()
        };
        let page = world.case_page(request).await;
        seen.extend(
            page.cases
                .into_iter()
                .map(|case| (case.saga_id, case.class)),
        );
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let mut expected = Vec::new();
    for id in ids.iter().rev() {
        for class in ["overdue", "no_progress"] {
            let class = if *id == ids[2] { "unreadable" } else { class };
            expected.push((id.to_string(), class.to_owned()));
        }
    }
    assert_eq!(seen, expected);
    let only = ListCasesRequest {
        class: "overdue".to_owned(),
        ..ListCasesRequest::default()
    };
    assert_eq!(world.case_page(only).await.cases.len(), 5);
    // a plan that only a newer release knows
    world
        .run(
            "INSERT INTO plan (name, version, hash, body)
             SELECT name, 99, 'new', 'x' FROM plan LIMIT 1",
        )
        .await;
    world
        .run(&format!(
            "UPDATE saga SET plan_id = (SELECT id FROM plan WHERE hash = 'new'),
                             progress_at = now(), started_at = now() WHERE id = '{}'",
            ids[0]
        ))
        .await;
    let classes = world.classes().await;
    assert_eq!(
        classes.last().unwrap(),
        &(ids[0].to_string(), "plan_missing".to_owned())
    );
}

#[tokio::test]
async fn the_sentence_knows_whether_the_command_is_out() {
    let world = World::new().await;
    let id = world.started("o-1").await;
    let words = world.why(id).await;
    assert!(
        words.starts_with(
            "inventory has not been asked for reserve-stock yet: its command is not published (0."
        ),
        "{words}"
    );
    world.park(id, "too large").await;
    let words = world.why(id).await;
    assert_eq!(
        words,
        "inventory cannot be asked for reserve-stock: its command is parked: too large"
    );
    assert_eq!(world.cases().await[0].sentence, words);
    world.run("DELETE FROM outbox_parked").await;
    let words = world.why(id).await;
    assert!(
        words.starts_with("inventory has not answered reserve-stock (attempt 1)"),
        "{words}"
    );
}
