use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use palinode_rpc::{Channel, Door, channel};
use palinode_service::{Condition, Config, Context, Opening, Tasks, service};
use palinode_telemetry::{Meter, Tracer};
use palinode_values::Clock;
use tokio::net::{TcpListener, TcpStream};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const LIMIT: Duration = Duration::from_secs(5);

async fn open(tasks: &Tasks) -> Context {
    Context::open(Opening {
        spec: service("gateway").unwrap(),
        config: Arc::new(Config::from_map(&BTreeMap::new()).unwrap()),
        listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        tasks: tasks.clone(),
        tracer: Tracer::disabled(),
        meter: Meter::disabled(),
        clock: Clock::system(),
        shared: palinode_service::Shared::default(),
    })
    .await
    .unwrap()
}

/// Waits until the server says so of its health.
async fn until_health_is(channel: &Channel, expect: ServingStatus) {
    let request = HealthCheckRequest {
        service: String::new(),
    };
    let mut changes = HealthClient::new(channel.clone())
        .watch(request)
        .await
        .unwrap()
        .into_inner();
    let seen = async {
        while let Some(answer) = changes.message().await.unwrap() {
            if answer.status() == expect {
                return;
            }
        }
        panic!("the server went away before its health was {expect:?}");
    };
    tokio::time::timeout(LIMIT, seen).await.unwrap();
}

#[tokio::test]
async fn health_follows_readiness_and_the_port_is_free_after_the_stop() {
    let tasks = Tasks::new();
    let context = open(&tasks).await;
    let address = context.address();
    let (readiness, warm) = (context.readiness.clone(), context.readiness.require("warm"));
    context
        .host(async |context: Context| {
            context.serve_grpc(context.grpc(Door::Open));
            Ok(())
        })
        .await
        .unwrap();
    let channel = channel(&address.to_string().parse().unwrap());
    until_health_is(&channel, ServingStatus::NotServing).await;
    assert_eq!(readiness.missing(), ["warm"]);
    warm.set(true);
    until_health_is(&channel, ServingStatus::Serving).await;
    Condition::set(&warm, false);
    until_health_is(&channel, ServingStatus::NotServing).await;

    drop(channel);
    tasks.stop(LIMIT).await.unwrap();
    assert_eq!(*tasks.failed().borrow(), None);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_service_that_cannot_be_built_is_not_ready_and_says_why() {
    let context = open(&Tasks::new()).await;
    let readiness = context.readiness.clone();
    let error = context
        .host(async |_| anyhow::bail!("no ink"))
        .await
        .unwrap_err();
    let error = anyhow::Error::from(error);
    assert_eq!(format!("{error:#}"), "gateway cannot be started: no ink");
    assert_eq!(readiness.missing(), ["build"]);
}

#[tokio::test]
async fn a_failed_task_of_one_service_stops_the_others() {
    let tasks = Tasks::new();
    let (first, second) = (open(&tasks).await, open(&tasks).await);
    first.serve_grpc(first.grpc(Door::Open));
    second.spawn("sweep", async { anyhow::bail!("disk full") });
    tokio::time::timeout(LIMIT, tasks.stop_token().cancelled())
        .await
        .unwrap();
    tasks.stop(LIMIT).await.unwrap();
    let failure = tasks.failed().borrow().clone().unwrap();
    assert_eq!(failure.to_string(), "task gateway: sweep: disk full");
}
