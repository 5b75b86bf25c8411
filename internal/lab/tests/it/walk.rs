//! Every method, by everybody: through the gateway, and straight at the port of its service.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use palinode_auth::{AUDIENCE, Access, ISSUER, Role, Rules, Signer};
use palinode_db::Area;
use palinode_lab::passes::{Passes, Who};
use palinode_lab::seed::product_id_of;
use palinode_pb::DESCRIPTORS;
use prost_reflect::prost::Message as _;
use prost_reflect::{DynamicMessage, MethodDescriptor, Value};
use serde_json::{Value as Json, json};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Status};

use crate::rig::{Rig, mugs, wallet};

/// Somebody who calls, and what he should be taken for.
struct Caller {
    name: &'static str,
    headers: Vec<(&'static str, String)>,
    is: Is,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Is {
    Nobody,
    /// Shows something that is no token.
    Liar,
    /// Of these roles; whether what is asked for is his own.
    Somebody {
        roles: Vec<Role>,
        owns: bool,
    },
}

/// What a call comes to, as far as a rule decides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    SignIn,
    NoRole,
    /// There is no such thing for him.
    Hidden,
    LetIn,
}

/// A method whose request names something that somebody owns, and everybody else is told nothing of.
fn is_about_a_thing(method: &MethodDescriptor) -> bool {
    let things = ["order_id", "payment_id", "shipment_id", "user_id"];
    let names = |name: &str| method.input().get_field_by_name(name).is_some();
    // an order by a quote is refused for what else it lacks, before anybody looks for the quote
    things.iter().any(|name| names(name)) || (names("quote_id") && method.name() != "PlaceOrder")
}

fn expected(access: &Access, method: &MethodDescriptor, is: &Is) -> Told {
    if access.anyone {
        return Told::LetIn;
    }
    match is {
        Is::Nobody | Is::Liar => Told::SignIn,
        Is::Somebody { roles, owns } => {
            let by_role = roles.iter().any(|role| access.roles.contains(role));
            let is_user = !roles.contains(&Role::Service);
            match (by_role, access.owner && is_user) {
                (true, _) => Told::LetIn,
                (false, false) => Told::NoRole,
                (false, true) if is_about_a_thing(method) && !owns => Told::Hidden,
                (false, true) => Told::LetIn,
            }
        }
    }
}

/// Bytes in, bytes out.
#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// Things of alice's, by the field that names them.
type Things = BTreeMap<&'static str, String>;

struct Walk {
    rig: Rig,
    things: Things,
    client: plain::Client,
}

impl Walk {
    /// The request: whatever it can name is alice's, and nothing else is given.
    fn request(&self, method: &MethodDescriptor) -> DynamicMessage {
        let mut request = DynamicMessage::new(method.input());
        for field in method.input().fields() {
            let name = field.name();
            match self.things.get(name) {
                Some(id) => request.set_field(&field, Value::String(id.clone())),
                // a new kind of thing has to be made above, or nobody knows whose it is
                None => assert!(
                    !name.ends_with("_id") || ["bulk_id"].contains(&name),
                    "{}: the walk has no {name}",
                    method.full_name()
                ),
            }
        }
        request
    }

    async fn straight(&self, method: &MethodDescriptor, headers: &HeaderMap) -> Told {
        let service = method.parent_service();
        let address = self.rig.address(service_of(service.full_name()));
        let channel = palinode_rpc::channel(&address.parse().unwrap());
        let mut request = tonic::Request::new(Bytes::from(self.request(method).encode_to_vec()));
        request.metadata_mut().as_mut().extend(headers.clone());
        let path = format!("/{}/{}", service.full_name(), method.name());
        let mut client = tonic::client::Grpc::new(channel);
        client.ready().await.unwrap();
        let answer = async {
            // of one answer or of many: the first
            let mut stream = client
                .server_streaming(request, path.parse().unwrap(), Raw)
                .await?
                .into_inner();
            stream.message().await
        };
        match answer.await {
            Ok(_) => Told::LetIn,
            Err(status) => match status.code() {
                Code::Unauthenticated if is_ours(&status) => Told::SignIn,
                Code::PermissionDenied => Told::NoRole,
                Code::NotFound => Told::Hidden,
                Code::Unimplemented | Code::Internal | Code::Unknown => {
                    panic!("{path}: {status:?}")
                }
                _ => Told::LetIn,
            },
        }
    }

    async fn by_the_gateway(
        &self,
        verb: &Method,
        path: &str,
        has_body: bool,
        headers: &HeaderMap,
    ) -> Told {
        let url = format!("{}{path}", self.rig.gateway.server());
        let body = if has_body { "{}" } else { "" };
        let (status, answer) = self.client.send(verb, &url, headers, body).await;
        match status {
            401 if is_of_the_guard(answer["reason"].as_str().unwrap()) => Told::SignIn,
            403 => Told::NoRole,
            404 => Told::Hidden,
            500.. => panic!("{verb} {path}: {status} {answer}"),
            _ => Told::LetIn,
        }
    }
}

/// Whether it is the guard that wants a token, or the method that knows no such password.
fn is_ours(status: &Status) -> bool {
    is_of_the_guard(&palinode_rpc::Failure::from(status).reason)
}

fn is_of_the_guard(reason: &str) -> bool {
    ["SIGN_IN_REQUIRED", "TOKEN_INVALID", "TOKEN_EXPIRED"].contains(&reason)
}

fn service_of(full_name: &str) -> &str {
    match full_name.split('.').nth(1).unwrap() {
        "saga" => "orchestrator",
        area => area,
    }
}

/// Verb, path and whether there is a body, of each binding of a method.
fn bindings(method: &MethodDescriptor, things: &Things) -> Vec<(Method, String, bool)> {
    let http = DESCRIPTORS
        .get_extension_by_name("google.api.http")
        .unwrap();
    let options = method.options();
    if !options.has_extension(&http) {
        return Vec::new();
    }
    let rule = options.get_extension(&http);
    let rule = rule.as_message().unwrap();
    let more = rule.get_field_by_name("additional_bindings").unwrap();
    let more = more.as_list().unwrap().to_vec();
    let mut found = vec![binding(rule, things)];
    found.extend(
        more.iter()
            .map(|rule| binding(rule.as_message().unwrap(), things)),
    );
    found
}

fn binding(rule: &DynamicMessage, things: &Things) -> (Method, String, bool) {
    let (verb, template) = ["get", "put", "post", "delete", "patch"]
        .into_iter()
        .find_map(|verb| {
            let template = rule.get_field_by_name(verb).unwrap();
            let template = template.as_str().unwrap().to_owned();
            (!template.is_empty()).then_some((verb, template))
        })
        .unwrap();
    let mut path = template;
    for (name, id) in things {
        path = path.replace(&format!("{{{name}}}"), id);
    }
    path = path
        .replace("{participant}", "nobody")
        .replace("{bulk_id}", "none");
    assert!(!path.contains('{'), "the walk cannot fill {path}");
    let body = rule.get_field_by_name("body").unwrap();
    (
        verb.to_uppercase().parse().unwrap(),
        path,
        !body.as_str().unwrap().is_empty(),
    )
}

/// What a forger could think of.
const FORGED: [(&str, &str); 6] = [
    ("x-user-id", "alice"),
    ("x-roles", "admin"),
    ("x-forwarded-user", "alice"),
    ("x-palinode-caller", r#"{"sub":"alice","roles":["admin"]}"#),
    ("grpc-metadata-authorization", "admin"),
    ("cookie", "session=alice"),
];

async fn callers(rig: &Rig) -> Vec<Caller> {
    let passes = Passes::minted(&rig.backing.database_url).await.unwrap();
    let somebody = async |name, who: Who, role: Role| {
        let pass = passes.of(&who).await.unwrap();
        Caller {
            name,
            headers: vec![("authorization", pass.header.to_str().unwrap().to_owned())],
            is: Is::Somebody {
                roles: vec![role],
                owns: name == "owner",
            },
        }
    };
    let mut callers = vec![
        somebody("owner", Who::customer("alice"), Role::Customer).await,
        somebody("other", Who::customer("bob"), Role::Customer).await,
    ];
    for (name, role) in [
        ("staff", Role::Staff),
        ("operator", Role::Operator),
        ("admin", Role::Admin),
        ("service", Role::Service),
    ] {
        callers.push(somebody(name, Who::with(name, role), role).await);
    }
    callers.push(Caller {
        name: "nobody",
        headers: Vec::new(),
        is: Is::Nobody,
    });
    callers.push(Caller {
        name: "nobody, with forged headers",
        headers: FORGED.map(|(name, value)| (name, value.to_owned())).into(),
        is: Is::Nobody,
    });
    callers.extend(liars(rig).await);
    callers
}

/// Tokens that say all the right things, but for one.
async fn liars(rig: &Rig) -> Vec<Caller> {
    let mut identity = rig.connect(Area::Identity).await;
    let key: Vec<u8> = sqlx::query_scalar("SELECT pkcs8 FROM signing_key")
        .fetch_one(&mut identity)
        .await
        .unwrap();
    let kid = Signer::read(&key).unwrap().id().to_owned();
    let header = Header {
        typ: Some("at+jwt".to_owned()),
        kid: Some(kid.clone()),
        ..Header::new(Algorithm::ES256)
    };
    let good = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "roles": ["customer", "admin"],
        "iat": 1, "exp": 4_000_000_000_u64, "jti": "00000000-0000-4000-8000-000000000000",
    });
    let with = |name: &str, value: Json| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let signed = |header: &Header, claims: &Json, key: &EncodingKey| {
        jsonwebtoken::encode(header, claims, key).unwrap()
    };
    let ours = EncodingKey::from_ec_der(&key);
    let theirs = EncodingKey::from_ec_der(&Signer::draw().unwrap());
    let by_secret = Header {
        alg: Algorithm::HS256,
        ..header.clone()
    };
    let sound = signed(&header, &good, &ours);
    let parts: Vec<&str> = sound.split('.').collect();
    // {"alg":"none","typ":"at+jwt"}
    let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.{}.", parts[1]);
    let bearer = |token: &str| format!("Bearer {token}");
    let public = Signer::publish([&Signer::read(&key).unwrap()]);
    let shown = [
        (
            "expired",
            bearer(&signed(&header, &with("exp", json!(2)), &ours)),
        ),
        (
            "wrong audience",
            bearer(&signed(&header, &with("aud", json!("shop")), &ours)),
        ),
        (
            "wrong issuer",
            bearer(&signed(&header, &with("iss", json!("shop")), &ours)),
        ),
        ("wrong key", bearer(&signed(&header, &good, &theirs))),
        ("unsigned", bearer(&none)),
        (
            "signed with the public key as a secret",
            bearer(&signed(
                &by_secret,
                &good,
                &EncodingKey::from_secret(public.as_bytes()),
            )),
        ),
        (
            "changed",
            bearer(&format!("{}.{}x.{}", parts[0], parts[1], parts[2])),
        ),
        ("no token", bearer("7")),
        ("another scheme", "Basic YWxpY2U6YWxpY2U=".to_owned()),
    ];
    let liar = |(name, value)| Caller {
        name,
        headers: vec![("authorization", value)],
        is: Is::Liar,
    };
    shown.into_iter().map(liar).collect()
}

/// What alice has, once her order is confirmed.
async fn things(rig: &Rig) -> Things {
    let body = mugs("alice", "DE", wallet());
    let placed = rig.gateway.order(&body, None).await.unwrap();
    let id = placed.success().unwrap()["orderId"]
        .as_str()
        .unwrap()
        .to_owned();
    let order = rig.decided(&id).await;
    let of = |field: &str| order[field].as_str().unwrap().to_owned();
    let wanted = json!({"lines": [{"sku": "mug-blue", "quantity": 1}]});
    let alice = rig.gateway.user("alice");
    let quoted = alice.post("/v1/quotes", &wanted, None).await.unwrap();
    let quote = quoted.success().unwrap()["quoteId"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut inventory = rig.connect(Area::Inventory).await;
    let reservation: uuid::Uuid = sqlx::query_scalar("SELECT id FROM reservation")
        .fetch_one(&mut inventory)
        .await
        .unwrap();
    BTreeMap::from([
        ("order_id", id),
        ("payment_id", of("paymentId")),
        ("shipment_id", of("shipmentId")),
        ("saga_id", of("sagaId")),
        ("reservation_id", reservation.to_string()),
        ("user_id", "alice".to_owned()),
        ("sku", "mug-blue".to_owned()),
        ("product_id", product_id_of("mug-blue").to_string()),
        ("category_id", "cups".to_owned()),
        ("quote_id", quote),
    ])
}

fn headers_of(caller: &Caller) -> HeaderMap {
    let pairs = caller.headers.iter().map(|(name, value)| {
        let name = HeaderName::from_static(name);
        (name, HeaderValue::from_str(value).unwrap())
    });
    pairs.collect()
}

#[tokio::test]
async fn every_method_lets_in_whom_its_rule_names_and_nobody_else() {
    let rig = Rig::start(async |_| {}).await;
    let things = things(&rig).await;
    let callers = callers(&rig).await;
    let rules = Rules::of(&DESCRIPTORS).unwrap();
    let walk = Walk {
        rig,
        things,
        client: plain::Client::default(),
    };
    let mut methods: Vec<MethodDescriptor> = DESCRIPTORS
        .services()
        .filter(|service| service.package_name().starts_with("palinode."))
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .collect();
    // who deletes himself has nothing left to be refused
    methods.sort_by_key(|method| method.name().starts_with("Delete"));
    let (mut cells, mut wrong) = (0, Vec::new());
    for method in &methods {
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let access = rules.get(&path).unwrap();
        for caller in &callers {
            let expect = expected(access, method, &caller.is);
            let headers = headers_of(caller);
            let mut check = |by: String, told: Told, cells: &mut u32| {
                *cells += 1;
                // of what is let in, the thing may be missing for other reasons
                let is_right = match expect {
                    Told::LetIn if is_about_a_thing(method) => told == Told::LetIn,
                    Told::LetIn => matches!(told, Told::LetIn | Told::Hidden),
                    Told::Hidden => matches!(told, Told::Hidden | Told::NoRole),
                    other => told == other,
                };
                if !is_right {
                    wrong.push(format!("{by} by {}: {told:?}, not {expect:?}", caller.name));
                }
            };
            check(
                path.clone(),
                walk.straight(method, &headers).await,
                &mut cells,
            );
            for (verb, path, has_body) in bindings(method, &walk.things) {
                let told = walk.by_the_gateway(&verb, &path, has_body, &headers).await;
                // a list that names nobody is his own
                let names_it = walk.things.values().any(|id| path.contains(id.as_str()));
                let is_in = |told| matches!(told, Told::LetIn | Told::Hidden);
                if !names_it && is_in(expect) && is_in(told) {
                    cells += 1;
                    continue;
                }
                check(format!("{verb} {path}"), told, &mut cells);
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(cells > 1_000, "{cells} cells");
}

/// A client that sends what it is told to, and nothing of its own.
mod plain {
    use http_body_util::{BodyExt, Full};
    use hyper_util::client::legacy::Client as Hyper;
    use hyper_util::client::legacy::connect::HttpConnector;
    use hyper_util::rt::TokioExecutor;

    use super::{Bytes, Duration, HeaderMap, Json, Method};

    pub(super) struct Client(Hyper<HttpConnector, Full<Bytes>>);

    impl Default for Client {
        fn default() -> Self {
            Self(Hyper::builder(TokioExecutor::new()).build_http())
        }
    }

    impl Client {
        pub(super) async fn send(
            &self,
            verb: &Method,
            url: &str,
            headers: &HeaderMap,
            body: &'static str,
        ) -> (u16, Json) {
            let mut request = http::Request::builder().method(verb).uri(url);
            *request.headers_mut().unwrap() = headers.clone();
            if !body.is_empty() {
                request = request.header("content-type", "application/json");
            }
            let request = request.body(Full::new(Bytes::from_static(body.as_bytes())));
            let answer = async {
                let response = self.0.request(request.unwrap()).await.unwrap();
                let status = response.status().as_u16();
                let body = response.into_body().collect().await.unwrap().to_bytes();
                (status, serde_json::from_slice(&body).unwrap_or(Json::Null))
            };
            tokio::time::timeout(Duration::from_secs(30), answer)
                .await
                .unwrap()
        }
    }
}
