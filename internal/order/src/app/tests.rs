use std::time::Duration;

use palinode_auth::Caller;
use palinode_db::{Area, Db, Options};
use palinode_messaging::Headers;
use palinode_outbox::Doorbell;
use palinode_pb::saga::v1::find_sagas_response::FoundSaga;
use palinode_pb::saga::v1::starter_service_server::{StarterService, StarterServiceServer};
use palinode_pb::saga::v1::{
    CreateSagaRequest, CreateSagaResponse, FindSagasRequest, FindSagasResponse, SagaState,
    StartSaga,
};
use palinode_telemetry::{TraceContext, Tracer};
use palinode_testkit::database::{TestDatabase, test_database};
use palinode_testkit::eventually;
use palinode_values::{Clock, Coded, Currency, Money, OrderId, PaymentId, ShipmentId, Sku};
use prost::Message;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::{Request as Rpc, Response, Status as RpcStatus};

mod carts;
mod forget;
mod list;
mod plans;
mod products;
mod quotes;
mod watch;

use super::Desk;
use super::cancel::{CancelError, cancel};
use super::counter::counter;
use super::decide::decide;
use super::place::{Asked, Key, PlaceError, Placed, place};
use super::sweep::Sweep;
use crate::clients::Orchestrator;
use crate::domain::{
    Address, Decision, Fulfilment, Goods, Order, PaymentMethod, Product, Request, Status,
};
use crate::store;
use crate::wiring::KEYS_KEPT;

/// Everything here ends within this, or has failed.
const LIMIT: Duration = Duration::from_secs(30);

/// A server, aborted when it is dropped.
type Serving = JoinSet<Result<(), palinode_rpc::ServeError>>;

struct World {
    db: Db,
    clock: Clock,
    _database: TestDatabase,
}

impl World {
    async fn new() -> Self {
        let database = test_database(Area::Order).await;
        let options = Options {
            url: database.url.clone(),
            service: "order".to_owned(),
            connections_max: 5,
        };
        let db = Db::connect(&options).await.unwrap();
        let product = |sku: &str, price| Product {
            sku: sku.parse().unwrap(),
            name: sku.to_uppercase(),
            price: Money::new(price, Currency::EUR),
        };
        store::product::seed(&db, &[product("mug", 1250), product("pen", 199)])
            .await
            .unwrap();
        Self {
            db,
            clock: Clock::system(),
            _database: database,
        }
    }

    async fn place(&self, request: &Request, key: Option<&Key>) -> Result<Placed, PlaceError> {
        let asked = asked(request, key);
        place(&self.desk(), &[asked]).await.remove(0)
    }

    fn desk(&self) -> Desk {
        Desk {
            db: self.db.clone(),
            clock: self.clock.clone(),
            doorbell: Doorbell::new(),
            tracer: Tracer::disabled(),
            prefix: "test".to_owned(),
        }
    }

    async fn placed(&self) -> Order {
        match self
            .place(&request(&[("mug", 2), ("pen", 1)]), None)
            .await
            .unwrap()
        {
            Placed::New(order) | Placed::Before(order) => order,
        }
    }

    /// Rows of orders, lines, keys, guard and outbox.
    async fn rows(&self) -> [i64; 5] {
        let counts = sqlx::query!(
            r#"SELECT (SELECT count(*) FROM orders) AS "orders!",
                      (SELECT count(*) FROM order_line) AS "lines!",
                      (SELECT count(*) FROM idempotency_key) AS "keys!",
                      (SELECT count(*) FROM saga_guard) AS "guards!",
                      (SELECT count(*) FROM outbox) AS "outbox!""#
        )
        .fetch_one(self.db.pool())
        .await
        .unwrap();
        [
            counts.orders,
            counts.lines,
            counts.keys,
            counts.guards,
            counts.outbox,
        ]
    }

    /// An order that its saga has confirmed, and an orchestrator where that saga is in `state`.
    async fn confirmed(&self, state: SagaState) -> (Order, Orchestrator, Serving) {
        let order = self.placed().await;
        let confirm = Decision::Confirm(Fulfilment {
            payment_id: PaymentId::new(&self.clock),
            shipment_id: ShipmentId::new(&self.clock),
        });
        self.decide(&[(order.id, confirm)]).await;
        let (orchestrator, serving) = orchestrator(vec![(order.saga_id.to_string(), state)]).await;
        (order, orchestrator, serving)
    }

    async fn cancel(
        &self,
        order: &Order,
        orchestrator: &Orchestrator,
        key: Option<&Key>,
    ) -> Result<Order, CancelError> {
        let (caller, trace) = (Caller::customer(order.user.clone()), TraceContext::root());
        let asked = (order.id, &caller);
        cancel(&self.desk(), orchestrator, asked, key, &trace).await
    }

    async fn cancellations(&self) -> i64 {
        let count = sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM cancellation"#);
        count.fetch_one(self.db.pool()).await.unwrap()
    }

    async fn decide(&self, decisions: &[(OrderId, Decision)]) -> Vec<String> {
        let mut tx = self.db.begin().await.unwrap();
        let decisions: Vec<_> = decisions.iter().map(|(id, what)| (*id, what)).collect();
        let decided = decide(&mut tx, &decisions).await.unwrap();
        tx.commit().await.unwrap();
        decided
            .into_iter()
            .map(|d| format!("{:?}", d.outcome))
            .collect()
    }
}

fn request(lines: &[(&str, i32)]) -> Request {
    Request {
        user: "alice".parse().unwrap(),
        goods: Goods::Lines(skus(lines)),
        address: Address {
            name: "Alice".to_owned(),
            street: "Main 1".to_owned(),
            postal_code: "10115".to_owned(),
            city: "Berlin".to_owned(),
            country: "DE".to_owned(),
        },
        payment: PaymentMethod::Card {
            token: "tok_visa".to_owned(),
        },
        expected_total: None,
    }
}

fn skus(lines: &[(&str, i32)]) -> Vec<(Sku, i32)> {
    let lines = lines.iter();
    lines.map(|(sku, n)| (sku.parse().unwrap(), *n)).collect()
}

fn asked(request: &Request, key: Option<&Key>) -> Asked {
    Asked {
        request: request.clone(),
        key: key.map(|key| Key {
            key: key.key.clone(),
            fingerprint: key.fingerprint.clone(),
        }),
        trace: TraceContext::root(),
    }
}

fn key(fingerprint: &[u8]) -> Key {
    Key {
        key: "k-1".to_owned(),
        fingerprint: fingerprint.to_vec(),
    }
}

#[tokio::test]
async fn an_order_is_written_with_everything_that_belongs_to_it() {
    let world = World::new().await;
    let order = world.placed().await;
    assert_eq!(order.total, Money::new(2 * 1250 + 199, Currency::EUR));
    assert_eq!(world.rows().await, [1, 2, 0, 1, 1]);
    let stored = store::order::get(&world.db, order.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((stored.lines, stored.address), (order.lines, order.address));
    let row = sqlx::query!("SELECT key, payload, headers FROM outbox")
        .fetch_one(world.db.pool())
        .await
        .unwrap();
    let start = StartSaga::decode(&*row.payload).unwrap();
    assert_eq!(row.key, order.saga_id.key());
    assert_eq!(start.business_key, order.id.to_string());
    let headers = Headers::decode(row.headers).unwrap();
    assert_eq!(headers.text("ce_type"), Some("palinode.saga.v1.StartSaga"));
}

#[tokio::test]
async fn an_unknown_sku_names_its_line_and_writes_nothing() {
    let world = World::new().await;
    let error = world
        .place(&request(&[("mug", 1), ("nope", 1)]), Some(&key(b"a")))
        .await;
    let PlaceError::Invalid(wrong) = error.unwrap_err() else {
        panic!("not refused as invalid")
    };
    assert_eq!(wrong.list()[0].field, "lines[1].sku");
    assert_eq!(world.rows().await, [0; 5]);
}

#[tokio::test]
async fn one_key_is_one_order_however_often_and_by_however_many_it_is_sent() {
    let world = World::new().await;
    let (wanted, key_a) = (request(&[("mug", 1)]), key(b"a"));
    let calls = (0..8).map(|_| world.place(&wanted, Some(&key_a)));
    let mut ids: Vec<OrderId> = Vec::new();
    for call in calls.map(Box::pin).collect::<Vec<_>>() {
        match call.await.unwrap() {
            Placed::New(order) | Placed::Before(order) => ids.push(order.id),
        }
    }
    let (a, b) = tokio::join!(
        world.place(&wanted, Some(&key_a)),
        world.place(&wanted, Some(&key_a))
    );
    for placed in [a.unwrap(), b.unwrap()] {
        let Placed::Before(order) = placed else {
            panic!("a second order")
        };
        ids.push(order.id);
    }
    ids.dedup();
    assert_eq!((ids.len(), world.rows().await), (1, [1, 1, 1, 1, 1]));

    let other = world.place(&wanted, Some(&key(b"b"))).await.unwrap_err();
    assert_eq!(other.reason(), "IDEMPOTENCY_KEY_REUSED");
}

#[tokio::test]
async fn a_key_is_forgotten_when_it_is_old_and_not_before() {
    let world = World::new().await;
    let (wanted, key) = (request(&[("mug", 1)]), key(b"a"));
    let place = || world.place(&wanted, Some(&key));
    let Placed::New(first) = place().await.unwrap() else {
        panic!("there was no order yet")
    };
    let forget = async || {
        let forgotten = store::order::forget_keys(&world.db, KEYS_KEPT, 10).await;
        forgotten.unwrap()
    };
    assert_eq!(forget().await, 0);
    assert!(matches!(place().await.unwrap(), Placed::Before(order) if order.id == first.id));
    let aged = sqlx::query!("UPDATE idempotency_key SET created_at = now() - interval '8 days'");
    aged.execute(world.db.pool()).await.unwrap();
    assert_eq!((forget().await, forget().await), (1, 0));
    assert!(matches!(place().await.unwrap(), Placed::New(order) if order.id != first.id));
}

#[tokio::test]
async fn two_first_calls_with_one_key_at_once_are_one_order() {
    let world = World::new().await;
    let (wanted, key_a) = (request(&[("mug", 1)]), key(b"a"));
    let (a, b) = tokio::join!(
        world.place(&wanted, Some(&key_a)),
        world.place(&wanted, Some(&key_a))
    );
    let id = |placed: Placed| match placed {
        Placed::New(order) | Placed::Before(order) => order.id,
    };
    assert_eq!(id(a.unwrap()), id(b.unwrap()));
    assert_eq!(world.rows().await[0], 1);
}

#[tokio::test]
async fn calls_of_one_batch_get_each_its_own_answer() {
    let world = World::new().await;
    let (mug, nope) = (request(&[("mug", 1)]), request(&[("nope", 1)]));
    let named = |name: &str, fingerprint: &[u8]| Key {
        key: name.to_owned(),
        fingerprint: fingerprint.to_vec(),
    };
    let (one, bad) = (named("one", b"a"), named("bad", b"b"));
    let mut unwritable = mug.clone();
    unwritable.address.city = "Ber\0lin".to_owned();
    let batch = [
        asked(&mug, Some(&one)),
        asked(&nope, Some(&bad)),
        asked(&mug, Some(&one)),
        asked(&mug, Some(&named("one", b"other"))),
        // the key of the refused call is free again
        asked(&mug, Some(&bad)),
        asked(&unwritable, None),
        asked(&mug, None),
    ];
    let answers = place(&world.desk(), &batch).await;
    let words: Vec<String> = answers
        .iter()
        .map(|answer| match answer {
            Ok(Placed::New(_)) => "new".to_owned(),
            Ok(Placed::Before(_)) => "before".to_owned(),
            Err(error) => error.reason().to_owned(),
        })
        .collect();
    let reused = "IDEMPOTENCY_KEY_REUSED";
    let expected = [
        "new",
        "INVALID_REQUEST",
        "before",
        reused,
        "new",
        "INTERNAL",
        "new",
    ];
    assert_eq!(words, expected);
    let id = |index: usize| match &answers[index] {
        Ok(Placed::New(order) | Placed::Before(order)) => order.id,
        Err(error) => panic!("{error}"),
    };
    assert_eq!(id(0), id(2));
    assert_eq!(world.rows().await, [3, 3, 2, 3, 3]);
    // each trace is its own call's
    let traces = sqlx::query_scalar!("SELECT traceparent FROM outbox ORDER BY id");
    let traces = traces.fetch_all(world.db.pool()).await.unwrap();
    let trace = |text: Option<String>| text.unwrap().parse::<TraceContext>().unwrap().trace_id;
    let traces: Vec<_> = traces.into_iter().map(trace).collect();
    assert!(traces.contains(&batch[0].trace.trace_id));
    assert!(traces.contains(&batch[6].trace.trace_id));
}

#[tokio::test]
async fn calls_that_wait_are_placed_together() {
    let world = World::new().await;
    let (counter, clerk) = counter();
    let stop = CancellationToken::new();
    let calls = (0..150).map(|_| {
        let counter = counter.clone();
        async move { counter.place(asked(&request(&[("pen", 1)]), None)).await }
    });
    let calls = futures_util::future::join_all(calls);
    let (placed, ()) = tokio::join!(
        async {
            let placed = calls.await;
            stop.cancel();
            placed
        },
        clerk.run(world.desk(), stop.clone()),
    );
    assert!(placed.iter().all(Result::is_ok));
    assert_eq!(world.rows().await[0], 150);
    let transactions =
        sqlx::query_scalar!(r#"SELECT count(DISTINCT xmin::text) AS "count!" FROM orders"#);
    let transactions = transactions.fetch_one(world.db.pool()).await.unwrap();
    assert!(transactions <= 3, "{transactions} transactions");
    let late = counter.place(asked(&request(&[("pen", 1)]), None)).await;
    assert_eq!(late.unwrap_err().reason(), "TOO_MANY_ORDERS");
}

#[tokio::test]
async fn a_call_too_many_is_refused_at_once() {
    let world = World::new().await;
    let (counter, clerk) = counter();
    let calls = (0..1_001).map(|_| counter.place(asked(&request(&[("pen", 1)]), None)));
    let mut calls = calls.collect::<futures_util::stream::FuturesUnordered<_>>();
    // nobody takes them
    let first = futures_util::StreamExt::next(&mut calls).await.unwrap();
    assert_eq!(first.unwrap_err().reason(), "TOO_MANY_ORDERS");
    drop(clerk);
    drop(world);
}

#[tokio::test]
async fn decisions_of_one_batch_are_carried_out_once_and_never_revised() {
    let world = World::new().await;
    let (good, bad) = (world.placed().await, world.placed().await);
    let confirm = Decision::Confirm(Fulfilment {
        payment_id: PaymentId::new(&world.clock),
        shipment_id: ShipmentId::new(&world.clock),
    });
    let reject = Decision::Reject {
        reason: "OUT_OF_STOCK".to_owned(),
        detail: "no mug".to_owned(),
    };
    let outcomes = world
        .decide(&[
            (bad.id, reject.clone()),
            (good.id, confirm.clone()),
            (bad.id, reject.clone()),
        ])
        .await;
    assert_eq!(outcomes, ["Undone", "Done { output: None }", "Undone"]);
    let stored = store::order::get(&world.db, good.id)
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(stored.status, Status::Confirmed { .. }));

    let revised = world.decide(&[(good.id, reject)]).await;
    assert!(revised[0].starts_with("CannotUndo"), "{revised:?}");
    let late = world.decide(&[(bad.id, confirm)]).await;
    assert!(late[0].starts_with("Transient"), "{late:?}");
}

/// An orchestrator that knows the sagas it is told to know.
#[derive(Default)]
struct Knows(Vec<(String, SagaState)>);

#[tonic::async_trait]
impl StarterService for Knows {
    async fn create_saga(
        &self,
        _: Rpc<CreateSagaRequest>,
    ) -> Result<Response<CreateSagaResponse>, RpcStatus> {
        Err(RpcStatus::unimplemented("not asked here"))
    }

    async fn find_sagas(
        &self,
        request: Rpc<FindSagasRequest>,
    ) -> Result<Response<FindSagasResponse>, RpcStatus> {
        let asked = request.into_inner().saga_ids;
        let known = self.0.iter().filter(|(id, _)| asked.contains(id));
        let sagas = known.map(|(id, state)| FoundSaga {
            saga_id: id.clone(),
            state: (*state).into(),
        });
        Ok(Response::new(FindSagasResponse {
            sagas: sagas.collect(),
        }))
    }
}

/// Serves an orchestrator until what comes with it is dropped.
async fn orchestrator(known: Vec<(String, SagaState)>) -> (Orchestrator, Serving) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stop = CancellationToken::new();
    let server = palinode_rpc::Server::new(
        Tracer::disabled(),
        Clock::system(),
        palinode_rpc::Door::Open,
    )
    .add_service(StarterServiceServer::new(Knows(known)));
    let mut tasks = JoinSet::new();
    tasks.spawn(server.serve(listener, stop));
    let channel = palinode_rpc::channel(&address.parse().unwrap());
    let nobody = palinode_rpc::Credentials::default();
    (Orchestrator::new(channel, nobody), tasks)
}

#[tokio::test]
async fn a_start_that_nobody_knows_is_sent_again_under_the_same_saga_id() {
    let world = World::new().await;
    let (known, lost) = (world.placed().await, world.placed().await);
    let known_sagas = vec![(known.saga_id.to_string(), SagaState::Running)];
    let (orchestrator, _serving) = orchestrator(known_sagas).await;
    let sweep = Sweep {
        desk: world.desk(),
        orchestrator,
    };
    assert_eq!(
        sweep.step(Duration::from_secs(60)).await.unwrap(),
        0,
        "too early"
    );
    assert_eq!(sweep.step(Duration::ZERO).await.unwrap(), 1);
    let payloads = sqlx::query_scalar!("SELECT payload FROM outbox ORDER BY id")
        .fetch_all(world.db.pool())
        .await
        .unwrap();
    assert_eq!(payloads.len(), 3);
    let again = StartSaga::decode(&*payloads[2]).unwrap();
    assert_eq!(again.saga_id, lost.saga_id.to_string());
    assert_eq!(payloads[2], payloads[1], "the same start, byte for byte");
    // the known one is left alone from now on
    let left = store::order::to_sweep(&world.db, Duration::ZERO, 10)
        .await
        .unwrap();
    assert_eq!(left, [lost.saga_id]);
}

#[tokio::test]
async fn an_order_is_cancelled_when_its_saga_is_over_and_not_before() {
    let world = World::new().await;
    let (order, running, _serving) = world.confirmed(SagaState::Running).await;
    let early = world.cancel(&order, &running, None).await.unwrap_err();
    assert_eq!(early.reason(), "NOT_YET");
    let pending = world.placed().await;
    let early = world.cancel(&pending, &running, None).await.unwrap_err();
    assert_eq!(early.reason(), "NOT_YET");
    assert_eq!(world.cancellations().await, 0);

    let completed = vec![(order.saga_id.to_string(), SagaState::Completed)];
    let (over, _serving) = orchestrator(completed).await;
    let stranger = Order {
        user: "mallory".parse().unwrap(),
        ..order.clone()
    };
    let denied = world.cancel(&stranger, &over, None).await.unwrap_err();
    assert_eq!(denied.reason(), "ORDER_NOT_FOUND");
    let cancelling = world.cancel(&order, &over, None).await.unwrap();
    let cancellation = cancelling.cancellation.clone().unwrap();
    assert_eq!(cancelling.status.word(), "cancelling");
    let payload = sqlx::query_scalar!("SELECT payload FROM outbox ORDER BY id DESC LIMIT 1")
        .fetch_one(world.db.pool())
        .await
        .unwrap();
    let start = StartSaga::decode(&*payload).unwrap();
    assert_eq!(start.plan, "cancel-order");
    assert_eq!(start.saga_id, cancellation.saga_id.to_string());
    assert_eq!(start.business_key, cancellation.id.to_string());
    let steps = sqlx::query_scalar!("SELECT step FROM saga_guard ORDER BY saga_id")
        .fetch_all(world.db.pool())
        .await
        .unwrap();
    assert_eq!(steps, ["open-order", "open-order", "open-cancellation"]);

    // once more, while it is under way: the same one
    let again = world.cancel(&order, &over, None).await.unwrap();
    assert_eq!(again.cancellation, Some(cancellation));
    assert_eq!(world.cancellations().await, 1);
}

/// Its own saga may be under way: nobody has asked, for it was pending.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_is_confirmed_while_it_is_cancelled_is_not_cancelled_yet() {
    let world = World::new().await;
    let order = world.placed().await;
    let known = vec![(order.saga_id.to_string(), SagaState::Running)];
    let (running, _serving) = orchestrator(known).await;
    let mut tx = world.db.begin().await.unwrap();
    let confirm = Decision::Confirm(Fulfilment {
        payment_id: PaymentId::new(&world.clock),
        shipment_id: ShipmentId::new(&world.clock),
    });
    decide(&mut tx, &[(order.id, &confirm)]).await.unwrap();
    let waits = async {
        world._database.until_locked_out("orders").await;
        tx.commit().await.unwrap();
    };
    let (cancelled, ()) = tokio::join!(world.cancel(&order, &running, None), waits);
    assert_eq!(cancelled.unwrap_err().reason(), "NOT_YET");
    assert_eq!(world.cancellations().await, 0);
}

#[tokio::test]
async fn an_order_whose_saga_is_forgotten_by_now_is_cancelled() {
    let world = World::new().await;
    let (order, _, _serving) = world.confirmed(SagaState::Completed).await;
    let (forgetful, _serving) = orchestrator(Vec::new()).await;
    let cancelling = world.cancel(&order, &forgetful, None).await.unwrap();
    assert_eq!(cancelling.status.word(), "cancelling");
}

/// He has it for a moment, and the sweep must not wait for him, nor he for the sweep.
#[tokio::test]
async fn a_saga_is_marked_as_known_later_where_somebody_holds_the_order() {
    let world = World::new().await;
    let (held, free) = (world.placed().await, world.placed().await);
    let sagas = [held.saga_id, free.saga_id];
    let mut tx = world.db.begin().await.unwrap();
    store::order::lock(&mut tx, &[held.id]).await.unwrap();
    store::order::mark_known(&world.db, &sagas).await.unwrap();
    let left = async || {
        let left = store::order::to_sweep(&world.db, Duration::ZERO, 10).await;
        left.unwrap()
    };
    assert_eq!(left().await, [held.saga_id]);
    drop(tx);
    eventually(LIMIT, "it is free again", async || {
        store::order::mark_known(&world.db, &sagas).await.unwrap();
        left().await.is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn many_who_cancel_at_once_open_one_cancellation() {
    let world = World::new().await;
    let (order, over, _serving) = world.confirmed(SagaState::Completed).await;
    let key = key(b"cancel");
    let call = |key| world.cancel(&order, &over, key);
    let (one, other, keyed, again) =
        tokio::join!(call(None), call(None), call(Some(&key)), call(Some(&key)));
    let ids: std::collections::BTreeSet<_> = [one, other, keyed, again]
        .into_iter()
        .map(|answer| answer.unwrap().cancellation.unwrap().id)
        .collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(world.cancellations().await, 1);
}

#[tokio::test]
async fn a_cancellation_that_came_too_late_leaves_the_order_and_can_be_asked_for_again() {
    let world = World::new().await;
    let (order, over, _serving) = world.confirmed(SagaState::Completed).await;
    let key = key(b"cancel");
    let first = world.cancel(&order, &over, Some(&key)).await.unwrap();
    let first = first.cancellation.unwrap();
    let keep = Decision::Keep {
        cancellation: first.id,
        reason: "SHIPMENT_DISPATCHED".to_owned(),
        detail: "it is on its way".to_owned(),
    };
    let kept = world
        .decide(&[(order.id, keep.clone()), (order.id, keep)])
        .await;
    assert_eq!(kept, ["Undone", "Undone"]);
    let stored = store::order::get(&world.db, order.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(stored.status.word(), "confirmed");
    let refused = stored.cancellation.unwrap().refused.unwrap();
    assert_eq!(refused.0, "SHIPMENT_DISPATCHED");

    // the same request again is answered with what became of it; another one is another try
    let same = world.cancel(&order, &over, Some(&key)).await.unwrap();
    assert_eq!(same.status.word(), "confirmed");
    let second = world.cancel(&order, &over, None).await.unwrap();
    let second = second.cancellation.unwrap();
    assert_ne!(second.id, first.id);
    let late = Decision::Close {
        cancellation: first.id,
    };
    let close = Decision::Close {
        cancellation: second.id,
    };
    let outcomes = world.decide(&[(order.id, late), (order.id, close)]).await;
    assert!(outcomes[0].starts_with("Transient"), "{outcomes:?}");
    assert_eq!(outcomes[1], "Done { output: None }");
    let stored = store::order::get(&world.db, order.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(stored.status.word(), "cancelled");
}

#[tokio::test]
async fn a_cancellation_whose_start_was_lost_is_started_again() {
    let world = World::new().await;
    let (order, over, _serving) = world.confirmed(SagaState::Completed).await;
    let cancelling = world.cancel(&order, &over, None).await.unwrap();
    let sweep = Sweep {
        desk: world.desk(),
        orchestrator: over,
    };
    assert_eq!(sweep.step(Duration::ZERO).await.unwrap(), 1);
    let payloads = sqlx::query_scalar!("SELECT payload FROM outbox ORDER BY id DESC LIMIT 2")
        .fetch_all(world.db.pool())
        .await
        .unwrap();
    assert_eq!(payloads[0], payloads[1], "the same start, byte for byte");
    let start = StartSaga::decode(&*payloads[0]).unwrap();
    let saga = cancelling.cancellation.unwrap().saga_id;
    assert_eq!(start.saga_id, saga.to_string());
}
