use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use palinode_auth::{Grant, Role, Signer};
use palinode_pb::inventory::v1::inventory_service_client::InventoryServiceClient;
use palinode_pb::inventory::v1::inventory_service_server::InventoryServiceServer;
use palinode_pb::inventory::v1::{AdjustStockRequest, ListStockRequest};
use palinode_rpc::{Authorizer, Buckets, Channel, Credentials, Door, Failure, Server, channel};
use palinode_telemetry::Tracer;
use palinode_values::{Clock, ErrorCode};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

use crate::requests::Counting;

const LIMIT: Duration = Duration::from_secs(10);

struct Authorized {
    authorizer: Authorizer,
    channel: Channel,
    client: InventoryServiceClient<Channel>,
    served: Arc<AtomicUsize>,
}

async fn start() -> Authorized {
    start_with(|server| server).await
}

#[expect(clippy::disallowed_methods, reason = "the server of a test")]
async fn start_with(set: impl FnOnce(Server) -> Server) -> Authorized {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let served = Arc::default();
    let authorizer = Authorizer::new(Clock::system()).unwrap();
    let door = Door::Authorized(authorizer.clone());
    let server = set(Server::new(Tracer::disabled(), Clock::system(), door))
        .add_service(InventoryServiceServer::new(Counting(Arc::clone(&served))));
    tokio::spawn(server.serve(listener, CancellationToken::new()));
    let channel = channel(&address.parse().unwrap());
    let client = InventoryServiceClient::new(channel.clone());
    Authorized {
        authorizer,
        channel,
        client,
        served,
    }
}

fn signer() -> Signer {
    Signer::read(&Signer::draw().unwrap()).unwrap()
}

fn shown(signer: &Signer, role: Role) -> Credentials {
    let grant = Grant {
        subject: "carol".parse().unwrap(),
        roles: vec![role],
        session: None,
        lifetime: LIMIT,
    };
    let token = signer.sign(&grant, Clock::system().now()).unwrap();
    let credentials = Credentials::default();
    credentials.set(&token);
    credentials
}

fn adjustment() -> AdjustStockRequest {
    AdjustStockRequest {
        sku: "mug".to_owned(),
        delta: 1,
        reason: "found".to_owned(),
    }
}

fn reason(status: &Status) -> (ErrorCode, String) {
    let failure = Failure::from(status);
    (failure.code, failure.reason)
}

#[tokio::test]
async fn who_may_call_is_let_in_and_nobody_else_reaches_the_handler() {
    let mut to = start().await;
    let signer = signer();
    to.authorizer.set_keys(&Signer::publish([&signer])).unwrap();
    // the fields of a request are nobody's business who may not send it
    let wrong = AdjustStockRequest::default();
    let status = to.client.adjust_stock(wrong).await.unwrap_err();
    assert_eq!(
        reason(&status),
        (ErrorCode::Unauthenticated, "SIGN_IN_REQUIRED".to_owned())
    );
    let challenge = status.metadata().get("www-authenticate").unwrap();
    assert_eq!(challenge, r#"Bearer realm="palinode""#);

    let customer = shown(&signer, Role::Customer).sign(adjustment());
    let status = to.client.adjust_stock(customer).await.unwrap_err();
    assert_eq!(
        reason(&status),
        (ErrorCode::Forbidden, "ROLE_REQUIRED".to_owned())
    );
    assert_eq!(status.message(), "this needs one of the roles admin");

    let mut twice = shown(&signer, Role::Admin).sign(adjustment());
    let token = twice.metadata().get("authorization").unwrap().clone();
    twice.metadata_mut().append("authorization", token);
    let status = to.client.adjust_stock(twice).await.unwrap_err();
    assert_eq!(
        reason(&status),
        (ErrorCode::Unauthenticated, "TOKEN_INVALID".to_owned())
    );
    assert_eq!(to.served.load(Ordering::Relaxed), 0);

    let admin = shown(&signer, Role::Admin).sign(adjustment());
    to.client.adjust_stock(admin).await.unwrap();
    assert_eq!(to.served.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn what_is_for_everybody_asks_for_no_token_and_looks_at_none() {
    let mut to = start().await;
    // no keys are known here at all
    let nonsense = Credentials::default();
    nonsense.set("nonsense");
    to.client
        .list_stock(nonsense.sign(ListStockRequest::default()))
        .await
        .unwrap();
    let health = HealthClient::new(to.channel.clone())
        .check(HealthCheckRequest::default())
        .await;
    health.unwrap();
    let mut raw = tonic::client::Grpc::new(to.channel.clone());
    raw.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/palinode.order.v1.OrderService/Nothing");
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let status = raw.unary(tonic::Request::new(()), path, codec).await;
    assert_eq!(status.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "who brings keys, beside the test"
)]
async fn a_token_of_a_key_that_is_new_waits_for_it() {
    let mut to = start().await;
    let (old, new) = (signer(), signer());
    let authorizer = to.authorizer.clone();
    let published = Signer::publish([&old]);
    let bringer = tokio::spawn(async move {
        // first nobody has keys, then there are old ones, then new ones
        authorizer.keys_wanted().await;
        assert!(authorizer.set_keys("nonsense").is_err());
        authorizer.keys_wanted().await;
        authorizer.set_keys(&published).unwrap();
        authorizer.keys_wanted().await;
        authorizer.set_keys(&published).unwrap();
        authorizer
    });
    let ask = |credentials: Credentials| {
        let mut client = to.client.clone();
        async move { client.adjust_stock(credentials.sign(adjustment())).await }
    };
    let status = ask(shown(&old, Role::Admin)).await.unwrap_err();
    assert_eq!(
        reason(&status),
        (ErrorCode::Unavailable, "KEYS_UNAVAILABLE".to_owned())
    );
    ask(shown(&old, Role::Admin)).await.unwrap();
    let status = ask(shown(&new, Role::Admin)).await.unwrap_err();
    assert_eq!(
        reason(&status),
        (ErrorCode::Unauthenticated, "TOKEN_INVALID".to_owned())
    );
    let authorizer = tokio::time::timeout(LIMIT, bringer).await.unwrap().unwrap();
    authorizer.set_keys(&Signer::publish([&old, &new])).unwrap();
    ask(shown(&new, Role::Admin)).await.unwrap();
    to.client
        .adjust_stock(shown(&old, Role::Admin).sign(adjustment()))
        .await
        .unwrap();
    assert_eq!(to.served.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn who_calls_too_often_is_told_when_to_come_again_and_nobody_else_is() {
    let buckets = Buckets::new(NonZeroU32::MIN);
    let mut started = start_with(|server| server.rate(buckets)).await;
    let signer = signer();
    started
        .authorizer
        .set_keys(&Signer::publish([&signer]))
        .unwrap();
    let carol = shown(&signer, Role::Admin);
    let limited = async |calls: usize, started: &mut Authorized, shown: &Credentials| {
        let mut limited = Vec::new();
        for _ in 0..calls {
            let call = started.client.adjust_stock(shown.sign(adjustment()));
            if let Err(status) = call.await {
                let wait = status.get_error_details().retry_info().cloned();
                assert!(wait.unwrap().retry_delay.unwrap() <= Duration::from_secs(1));
                limited.push(reason(&status));
            }
        }
        limited
    };
    // a bucket holds two calls, and gets one more each second
    let refused = limited(12, &mut started, &carol).await;
    assert!((1..=10).contains(&refused.len()), "{refused:?}");
    let refused_count = refused.len();
    for told in refused {
        assert_eq!(told, (ErrorCode::Limited, "RATE_LIMITED".to_owned()));
    }
    assert_eq!(started.served.load(Ordering::Relaxed), 12 - refused_count);
    // a call without a token is another caller's: by his address
    let mut limited_here = 0;
    for _ in 0..12 {
        let listed = started.client.list_stock(ListStockRequest::default()).await;
        limited_here += usize::from(listed.is_err_and(|e| e.code() == Code::ResourceExhausted));
    }
    assert!((1..=10).contains(&limited_here), "{limited_here}");
    // probes are not counted
    for _ in 0..12 {
        let health = HealthClient::new(started.channel.clone())
            .check(HealthCheckRequest::default())
            .await;
        health.unwrap();
    }
}
