//! The same list through our gateway and through Envoy's gRPC-JSON transcoder, each a process of its own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use palinode_catalog::{Seed, SeedCategory};
use palinode_db::Area;
use palinode_testkit::process::Child;
use palinode_values::{Clock, Currency, Money};
use prost::Message;
use prost_reflect::{DynamicMessage, Value};
use rustix::process::Signal;
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::bench::bar::Bar;
use crate::bench::latencies::Latencies;
use crate::bench::processes::cpu_of;
use crate::bench::report::Report;
use crate::bench::site::Site;
use crate::bench::telemetry::median;
use crate::prepare::connect as connect_to;
use crate::stack::Stack;

/// What is asked for: a page of the default size.
const PATH: &str = "/v1/products";
const SERVICE: &str = "palinode.catalog.v1.CatalogService";
const METHOD: &str = "ListProducts";
const UPSTREAM: &str = "catalog";
const PRODUCTS: u32 = 60;
/// Rounds, each with both proxies in turn; the first is for connections.
const ROUNDS: usize = 10;
/// Connections, each with one request at a time.
const CONNECTIONS: u32 = 16;
/// Requests of a connection in a round.
const EACH: u32 = 250;
const READY_LIMIT: Duration = Duration::from_secs(30);
const ASK_EVERY: Duration = Duration::from_millis(50);

/// A proxy in front of the stack.
struct Proxy {
    name: &'static str,
    child: Child,
    address: SocketAddr,
    /// Requests per CPU second of the process, a round each.
    per_cpu_s: Vec<f64>,
    per_s: Vec<f64>,
    latencies: Latencies,
}

/// Measures both, and compares what they answer.
pub(super) async fn beside(
    envoy: &Path,
    site: &Site,
    stack: &Stack,
    report: &mut Report,
) -> anyhow::Result<()> {
    fill(&site.backing.database_url).await?;
    let folder = tempfile::Builder::new()
        .prefix("palinode-envoy-")
        .tempdir()?;
    let mut proxies = [gateway(stack)?, envoy_of(envoy, stack, &folder)?];
    for proxy in &proxies {
        proxy.ready().await?;
    }
    let (ours, theirs) = (proxies[0].answer().await?, proxies[1].answer().await?);
    let count = ours["products"].as_array().map_or(0, Vec::len);
    ensure!(count > 0, "an empty page says nothing");
    if ours != theirs {
        let words = format!("the gateway and Envoy answer {PATH} differently: {ours} and {theirs}");
        report.violations.push(words);
    }
    let mut bar = Bar::new("rounds beside Envoy", ROUNDS as u64);
    for round in 0..=ROUNDS {
        for proxy in &mut proxies {
            proxy.round(round > 0).await?;
        }
        bar.at(round as u64, String::new);
    }
    let figures = &mut report.figures;
    figures.put("list_products", count);
    for proxy in &proxies {
        let name = proxy.name;
        figures.put(
            &format!("list_{name}_per_cpu_s"),
            median(proxy.per_cpu_s.clone()),
        );
        figures.put(&format!("list_{name}_per_s"), median(proxy.per_s.clone()));
        figures.put(&format!("list_{name}_p50_ms"), proxy.latencies.ms(50.0));
        figures.put(&format!("list_{name}_p99_ms"), proxy.latencies.ms(99.0));
    }
    let [ours, theirs] = &proxies;
    let times = median(ours.per_cpu_s.clone()) / median(theirs.per_cpu_s.clone());
    figures.put("list_per_cpu_s_times_envoy", times);
    Ok(())
}

/// A page of products, and more than that.
async fn fill(server: &str) -> anyhow::Result<()> {
    let category = SeedCategory {
        id: "parts".to_owned(),
        name: "Parts".to_owned(),
    };
    let product = |number: u32| {
        Ok(Seed {
            sku: format!("listed-{number:03}").parse()?,
            name: format!("Part number {number}"),
            description: "Fits where the one before it did. Made of steel, and of nothing else."
                .to_owned(),
            category: category.id.clone(),
            price: Money::new(i64::from(number) * 100 + 99, Currency::EUR),
            picture_url: format!("https://shop.example/pictures/{number}.webp"),
            initial_stock: 0,
        })
    };
    let products: anyhow::Result<Vec<_>> = (0..PRODUCTS).map(product).collect();
    let db = connect_to(server, Area::Catalog).await?;
    let (clock, categories, products) = (Clock::system(), [category.clone()], products?);
    let seeded = palinode_catalog::seed(&db, &clock, &categories, &products).await;
    db.close().await;
    seeded.context("seeding products")
}

impl Proxy {
    fn start(name: &'static str, command: Command, address: SocketAddr) -> anyhow::Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = Child::spawn(name, command, Signal::TERM);
        let child = child.with_context(|| format!("{program} cannot be started"))?;
        Ok(Self {
            name,
            child,
            address,
            per_cpu_s: Vec::new(),
            per_s: Vec::new(),
            latencies: Latencies::new(),
        })
    }

    async fn ready(&self) -> anyhow::Result<()> {
        let until = Instant::now() + READY_LIMIT;
        loop {
            let Err(error) = self.answer().await else {
                return Ok(());
            };
            if let Some(status) = self.child.ended() {
                anyhow::bail!("{} ended with {status}", self.name);
            }
            if Instant::now() > until {
                return Err(error.context(format!("{} does not answer", self.name)));
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    async fn answer(&self) -> anyhow::Result<Json> {
        let mut connections = JoinSet::new();
        let mut sender = connect(self.address, &mut connections).await?;
        let body = ask(&mut sender, self.address).await?;
        Ok(serde_json::from_slice(&body)?)
    }

    /// As many requests as always; `counts`: they are part of the figures.
    async fn round(&mut self, counts: bool) -> anyhow::Result<()> {
        let mut connections = JoinSet::new();
        let mut senders = Vec::new();
        for _ in 0..CONNECTIONS {
            senders.push(connect(self.address, &mut connections).await?);
        }
        let cpu = || cpu_of(self.child.pid()).context("what a process uses is not known here");
        let (cpu_before, began) = (cpu()?, Instant::now());
        let mut asking = JoinSet::new();
        for mut sender in senders {
            let address = self.address;
            asking.spawn(async move {
                let mut latencies = Latencies::new();
                for _ in 0..EACH {
                    let began = Instant::now();
                    ask(&mut sender, address).await?;
                    latencies.record(began.elapsed());
                }
                anyhow::Ok(latencies)
            });
        }
        let mut all = Latencies::new();
        while let Some(asked) = asking.join_next().await {
            all.add(&asked??);
        }
        let (took, used) = (began.elapsed().as_secs_f64(), cpu()? - cpu_before);
        if counts {
            let requests = f64::from(CONNECTIONS * EACH);
            self.per_cpu_s.push(requests / used.max(0.01));
            self.per_s.push(requests / took);
            self.latencies.add(&all);
        }
        Ok(())
    }
}

/// The gateway as people run it, in front of the services of the stack.
fn gateway(stack: &Stack) -> anyhow::Result<Proxy> {
    let address = free_address()?;
    let mut command = Command::new(std::env::current_exe()?);
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("PALINODE_") {
            command.env_remove(variable);
        }
    }
    for (service, at) in stack.addresses() {
        command.env(
            format!("PALINODE_{}", service.to_uppercase()),
            at.to_string(),
        );
    }
    command
        .args(["serve", "gateway"])
        .env("PALINODE_LISTEN", address.to_string())
        .env("PALINODE_LOG", "warn")
        .env("PALINODE_RATE_LIMIT", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    Proxy::start("gateway", command, address)
}

fn envoy_of(program: &Path, stack: &Stack, folder: &TempDir) -> anyhow::Result<Proxy> {
    let address = free_address()?;
    let mut services = stack.addresses().iter();
    let upstream = services.find(|(name, _)| *name == UPSTREAM);
    let (_, upstream) = upstream.context("a stack has this service")?;
    let (descriptors, config) = (
        folder.path().join("protos.bin"),
        folder.path().join("envoy.json"),
    );
    fs::write(&descriptors, descriptors_of_list()?)?;
    let settings = settings(address, *upstream, &descriptors);
    fs::write(&config, serde_json::to_vec(&settings)?)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut command = Command::new(program);
    command
        .arg("--config-path")
        .arg(&config)
        .args(["--log-level", "error", "--disable-hot-restart"])
        .args(["--concurrency", &threads.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    Proxy::start("envoy", command, address)
}

/// The contracts, without the other methods of the service: Envoy does not take a `response_body`, and does not
/// start with one.
fn descriptors_of_list() -> anyhow::Result<Vec<u8>> {
    let kind = palinode_pb::DESCRIPTORS
        .get_message_by_name("google.protobuf.FileDescriptorSet")
        .context("descriptors are described too")?;
    let mut all = DynamicMessage::decode(kind, palinode_pb::FILE_DESCRIPTOR_SET)?;
    for file in members(&mut all, "file") {
        for service in members(file, "service") {
            let methods = service.get_field_by_name_mut("method");
            if let Some(Value::List(methods)) = methods {
                methods.retain(|method| {
                    let method = method.as_message();
                    let name = method.and_then(|method| method.get_field_by_name("name"));
                    name.is_some_and(|name| name.as_str() == Some(METHOD))
                });
            }
        }
    }
    Ok(all.encode_to_vec())
}

fn members<'m>(
    message: &'m mut DynamicMessage,
    field: &str,
) -> impl Iterator<Item = &'m mut DynamicMessage> {
    let list = message.get_field_by_name_mut(field);
    let list = list.and_then(Value::as_list_mut);
    list.into_iter().flatten().filter_map(Value::as_message_mut)
}

/// A transcoder that answers as ours does: default values, and 404 for what there is not.
fn settings(listen: SocketAddr, upstream: SocketAddr, descriptors: &Path) -> Json {
    let typed = |kind: &str, mut fields: Json| {
        fields["@type"] = format!("type.googleapis.com/envoy.extensions.{kind}").into();
        fields
    };
    let at = |address: SocketAddr| json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}});
    let transcoder = json!({
        "proto_descriptor": descriptors,
        "services": [SERVICE],
        "convert_grpc_status": true,
        "request_validation_options": {"reject_unknown_method": true},
        "print_options": {"always_print_primitive_fields": true},
    });
    let filter = |name: &str, kind: &str, fields: Json| {
        json!({"name": format!("envoy.filters.http.{name}"),
               "typed_config": typed(&format!("filters.http.{kind}"), fields)})
    };
    let manager = json!({
        "stat_prefix": "edge",
        "route_config": {"virtual_hosts": [{
            "name": "all",
            "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "upstream", "timeout": "10s"}}],
        }]},
        "http_filters": [
            filter("grpc_json_transcoder", "grpc_json_transcoder.v3.GrpcJsonTranscoder", transcoder),
            filter("router", "router.v3.Router", json!({})),
        ],
    });
    let http2 = json!({"explicit_http_config": {"http2_protocol_options": {}}});
    json!({"static_resources": {
        "listeners": [{
            "address": at(listen),
            "filter_chains": [{"filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": typed(
                    "filters.network.http_connection_manager.v3.HttpConnectionManager", manager),
            }]}],
        }],
        "clusters": [{
            "name": "upstream",
            "type": "STATIC",
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions":
                    typed("upstreams.http.v3.HttpProtocolOptions", http2),
            },
            "load_assignment": {
                "cluster_name": "upstream",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": at(upstream)}}]}],
            },
        }],
    }})
}

async fn connect(
    address: SocketAddr,
    connections: &mut JoinSet<Result<(), hyper::Error>>,
) -> anyhow::Result<SendRequest<Empty<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    connections.spawn(connection);
    Ok(sender)
}

async fn ask(sender: &mut SendRequest<Empty<Bytes>>, address: SocketAddr) -> anyhow::Result<Bytes> {
    let request = Request::get(PATH)
        .header(header::HOST, address.to_string())
        .body(Empty::new())?;
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    ensure!(
        response.status() == StatusCode::OK,
        "{PATH}: {}",
        response.status()
    );
    Ok(response.into_body().collect().await?.to_bytes())
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
