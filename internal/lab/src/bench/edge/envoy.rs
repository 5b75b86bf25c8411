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
use palinode_testkit::process::Child;
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
use crate::stack::Stack;

/// What is asked for: a page of the default size.
const PATH: &str = "/v1/products";
const SERVICE: &str = "palinode.catalog.v1.CatalogService";
const UPSTREAM: &str = "catalog";
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
pub(super) async fn beside(envoy: &Path, stack: &Stack, report: &mut Report) -> anyhow::Result<()> {
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
    for proxy in &mut proxies {
        let name = proxy.name;
        figures.put(
            &format!("list_{name}_per_cpu_s"),
            median(&mut proxy.per_cpu_s),
        );
        figures.put(&format!("list_{name}_per_s"), median(&mut proxy.per_s));
        figures.put(&format!("list_{name}_p50_ms"), proxy.latencies.ms(50.0));
        figures.put(&format!("list_{name}_p99_ms"), proxy.latencies.ms(99.0));
    }
    let [ours, theirs] = &mut proxies;
    let times = median(&mut ours.per_cpu_s) / median(&mut theirs.per_cpu_s);
    figures.put("list_per_cpu_s_times_envoy", times);
    Ok(())
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
    fs::write(&descriptors, palinode_pb::FILE_DESCRIPTOR_SET)?;
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

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
