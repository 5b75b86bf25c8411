//! `palinode bench edge`: what the gateway costs, and many streams at once.

mod envoy;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use futures_util::{StreamExt, stream};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use palinode_db::{Area, Db};
use palinode_messaging::LANES;
use palinode_pb::order::v1::GetOrderRequest;
use palinode_pb::order::v1::order_service_client::OrderServiceClient;
use palinode_relay::operate::set_paused;
use palinode_rpc::channel;
use serde_json::{Value as Json, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::latencies::Latencies;
use super::processes::Processes;
use super::report::Report;
use super::sagas::Sagas;
use super::site::{Common, Site};
use super::{Bar, Shop};
use crate::gateway::Gateway;
use crate::passes::{Pass, SignedChannel, signed};
use crate::prepare::database_of;
use crate::stack::{Stack, Tracing};

/// Rounds of calls, each half through the gateway and half not: the machine's moods hit both alike.
const ROUNDS: u32 = 20;
/// Streams of one connection: fewer than what HTTP/2 servers allow.
const STREAMS_PER_CONNECTION: u32 = 100;
/// Orders that are placed at the same time.
const AT_ONCE: usize = 50;
/// A relay knows that its lanes are paused with the next renewal of its leases.
const PAUSED_WITHIN: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(180);
/// Sagas end within this after their orders, or something is wrong.
const REST_LIMIT: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What is measured.
#[derive(Debug, Clone)]
pub struct Edge {
    /// Calls through the gateway, and as many past it.
    pub calls: u32,
    /// Orders that are watched at the same time.
    pub streams: u32,
    /// The executable of Envoy; `None`: there is no peer.
    pub envoy: Option<PathBuf>,
}

/// The same question over REST and over gRPC, in turn; then many orders are watched while their sagas are
/// held, and let go.
///
/// # Errors
/// The stack does not start, or an order cannot be placed.
pub async fn edge(common: &Common, options: Edge) -> anyhow::Result<Report> {
    let mut site = Site::open(common).await?;
    let mut report = site.report("edge").await?;
    report.settings.put("calls", options.calls);
    report.settings.put("streams", options.streams);
    report.settings.put(
        "palinode_is",
        "all services and the clients, in one process",
    );
    let shop = Shop::open(&site.backing.database_url).await?;
    let stack = site.stack(Tracing::Off).await?;
    let measured = async {
        calls(&stack, &shop, options.calls, &mut report).await?;
        if let Some(envoy) = &options.envoy {
            envoy::beside(envoy, &site, &stack, &mut report).await?;
        }
        streams(&site, &stack, &shop, options.streams, &mut report).await
    };
    let mut measured = measured.await;
    if measured.is_ok() {
        measured = judged(&site, &mut report).await;
    }
    stack.stop().await?;
    measured?;
    site.close().await?;
    Ok(report)
}

/// An order is confirmed a moment before its saga has ended.
async fn judged(site: &Site, report: &mut Report) -> anyhow::Result<()> {
    let until = Instant::now() + REST_LIMIT;
    let mut found = site.judge().await?;
    while !found.is_empty() && Instant::now() < until {
        tokio::time::sleep(LOOK_EVERY).await;
        found = site.judge().await?;
    }
    report.violations.extend(found);
    Ok(())
}

/// What the gateway adds to a call that reads one order.
async fn calls(stack: &Stack, shop: &Shop, calls: u32, report: &mut Report) -> anyhow::Result<()> {
    let gateway = gateway(stack, shop)?;
    let mut orders = client(stack, &gateway.pass().await?)?;
    let id = place(&gateway, shop, 0).await?;
    let path = format!("/v1/orders/{id}");
    let (mut direct, mut through) = (Latencies::new(), Latencies::new());
    let each = (calls / ROUNDS).max(1);
    let mut bar = Bar::new("calls", u64::from(ROUNDS));
    for round in 0..=ROUNDS {
        if round == 1 {
            // the first is for connections and plans
            direct.clear();
            through.clear();
        }
        for _ in 0..each {
            let began = Instant::now();
            let order_id = id.clone();
            orders.get_order(GetOrderRequest { order_id }).await?;
            direct.record(began.elapsed());
        }
        for _ in 0..each {
            let began = Instant::now();
            let answer = gateway.get(&path).await?;
            through.record(began.elapsed());
            ensure!(answer.status.is_success(), "{path}: {}", answer.status);
        }
        bar.at(u64::from(round), String::new);
    }
    let figures = &mut report.figures;
    direct.put_as(figures, "grpc_");
    through.put_as(figures, "rest_");
    figures.put("added_p50_ms", through.ms(50.0) - direct.ms(50.0));
    figures.put("added_p99_ms", through.ms(99.0) - direct.ms(99.0));
    Ok(())
}

fn gateway(stack: &Stack, shop: &Shop) -> anyhow::Result<Gateway> {
    Ok(Gateway::at(&stack.url())?.with_shared(Arc::clone(&shop.passes)))
}

fn client(stack: &Stack, pass: &Pass) -> anyhow::Result<OrderServiceClient<SignedChannel>> {
    let mut addresses = stack.addresses().iter();
    let order = addresses.find(|(name, _)| *name == "order");
    let (_, address) = order.context("a stack has an order service")?;
    let channel = channel(&address.to_string().parse()?);
    Ok(OrderServiceClient::new(signed(channel, pass)?))
}

async fn place(gateway: &Gateway, shop: &Shop, number: u64) -> anyhow::Result<String> {
    let (user, order) = shop.order(number, &Sagas::default().load(Duration::ZERO));
    let order = Shop::json(&order);
    let key = format!("edge-{number}");
    let answer = gateway
        .user(user)
        .send(Method::POST, "/v1/orders", Some(&key), order)
        .await?;
    let id = answer.success()?["orderId"].as_str().map(str::to_owned);
    id.context("an answer without an order")
}

/// Watches many orders that stand still, then lets them go.
async fn streams(
    site: &Site,
    stack: &Stack,
    shop: &Shop,
    count: u32,
    report: &mut Report,
) -> anyhow::Result<()> {
    let gateway = gateway(stack, shop)?;
    let processes = Processes::find(0, None);
    let outbox = outbox(site).await?;
    let lanes: Vec<i16> = (0..LANES).map(i16::try_from).collect::<Result<_, _>>()?;
    // their sagas are not started: the orders stay as they are
    set_paused(&outbox, &lanes, true).await?;
    tokio::time::sleep(PAUSED_WITHIN).await;
    let mut bar = Bar::new("orders placed", count.into());
    let mut ids = Vec::new();
    let mut placing = stream::iter(1..=u64::from(count))
        .map(|number| place(&gateway, shop, number))
        .buffer_unordered(AT_ONCE);
    while let Some(id) = placing.next().await {
        ids.push(id?);
        bar.at(ids.len() as u64, String::new);
    }
    drop(placing);
    let before = processes.memory().palinode;
    let began = Instant::now();
    let mut watching = open(&gateway, ids).await?;
    let opened = began.elapsed();
    let during = processes.memory().palinode;
    let let_go = Instant::now();
    set_paused(&outbox, &lanes, false).await?;
    let (mut told, mut latest) = (0, Duration::ZERO);
    let mut bar = Bar::new("streams that ended", count.into());
    let ended = async {
        while let Some(ended) = watching.streams.join_next().await {
            match ended? {
                Ok(()) => told += 1,
                Err(error) if report.violations.len() < 10 => {
                    report.violations.push(format!("a stream: {error:#}"));
                }
                Err(_) => {}
            }
            latest = let_go.elapsed();
            bar.at(told, String::new);
        }
        anyhow::Ok(())
    };
    timeout(LIMIT, ended)
        .await
        .context("streams did not end in time")??;
    outbox.close().await;
    let kib = (during - before) * 1_024.0 / f64::from(count);
    let figures = &mut report.figures;
    figures.put("streams_open", count);
    figures.put("streams_opened_s", opened.as_secs_f64());
    figures.put("streams_told", told);
    figures.put("streams_all_told_s", latest.as_secs_f64());
    figures.put(
        "memory_mib",
        json!({"before": before, "with_streams": during, "kib_a_stream": kib}),
    );
    if told < u64::from(count) {
        let missing = u64::from(count) - told;
        report.violations.push(format!(
            "{missing} streams were not told of their order's end"
        ));
    }
    Ok(())
}

async fn outbox(site: &Site) -> anyhow::Result<Db> {
    let options = palinode_db::Options {
        url: database_of(&site.backing.database_url, Area::Order),
        service: "bench".to_owned(),
        connections_max: 1,
    };
    Ok(Db::connect(&options).await?)
}

/// Streams that are read to their end, and their connections.
#[derive(Default)]
struct Watching {
    streams: JoinSet<anyhow::Result<()>>,
    connections: JoinSet<Result<(), hyper::Error>>,
}

/// Opens a stream of each order; when it returns each has had its first answer.
async fn open(gateway: &Gateway, ids: Vec<String>) -> anyhow::Result<Watching> {
    let (server, pass) = (gateway.server(), gateway.pass().await?);
    let per_connection = STREAMS_PER_CONNECTION as usize;
    let mut watching = Watching::default();
    let mut bar = Bar::new("streams open", ids.len() as u64);
    let mut count = 0;
    for some in ids.chunks(per_connection) {
        let sender = connect(server, &mut watching.connections).await?;
        let opening = some
            .iter()
            .map(|id| begin(sender.clone(), server, &pass, id));
        for body in try_join_all(opening).await? {
            watching.streams.spawn(read_to_the_end(body));
            count += 1;
        }
        bar.at(count, String::new);
    }
    Ok(watching)
}

/// A connection of HTTP/2; it ends with the last who holds it.
async fn connect(
    server: &str,
    connections: &mut JoinSet<Result<(), hyper::Error>>,
) -> anyhow::Result<SendRequest<Empty<Bytes>>> {
    let address = server.strip_prefix("http://").context("no address")?;
    let stream = TcpStream::connect(address).await?;
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    connections.spawn(connection);
    Ok(sender)
}

async fn begin(
    mut sender: SendRequest<Empty<Bytes>>,
    server: &str,
    pass: &Pass,
    id: &str,
) -> anyhow::Result<Incoming> {
    let request = Request::get(format!("{server}/v1/orders/{id}:watch"))
        .header(header::AUTHORIZATION, &pass.header)
        .body(Empty::new())?;
    let response = sender.send_request(request).await?;
    ensure!(response.status() == StatusCode::OK, "{}", response.status());
    let mut body = response.into_body();
    let first = body.frame().await.context("a stream without an answer")??;
    let first = first.into_data().ok().context("no data")?;
    let status = status_of(&first)?;
    ensure!(status == "ORDER_STATUS_PENDING", "it begins with {status}");
    Ok(body)
}

async fn read_to_the_end(mut body: Incoming) -> anyhow::Result<()> {
    let mut last = String::new();
    while let Some(frame) = body.frame().await {
        if let Ok(line) = frame?.into_data()
            && !line.is_empty()
        {
            last = status_of(&line)?;
        }
    }
    let is_end = ["ORDER_STATUS_CONFIRMED", "ORDER_STATUS_REJECTED"].contains(&last.as_str());
    ensure!(is_end, "it ended with {last:?}");
    Ok(())
}

fn status_of(line: &[u8]) -> anyhow::Result<String> {
    let json: Json = serde_json::from_slice(line)?;
    let status = json["status"].as_str().map(str::to_owned);
    status.with_context(|| format!("no status in {json}"))
}
