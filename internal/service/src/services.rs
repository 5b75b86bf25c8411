use palinode_db::Area;

/// What the harness knows of a service before it is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceSpec {
    /// Its name: of the executable, on the command line, in logs and spans.
    pub name: &'static str,
    /// Where it listens unless told otherwise.
    pub port: u16,
    /// The database it owns; the relay works on those of others.
    pub area: Option<Area>,
}

const fn spec(name: &'static str, port: u16, area: Option<Area>) -> ServiceSpec {
    ServiceSpec { name, port, area }
}

/// Every service, in the order in which they are best started.
pub const SERVICES: &[ServiceSpec] = &[
    spec("cardprocessor", 50056, Some(Area::CardProcessor)),
    spec("identity", 50058, Some(Area::Identity)),
    spec("catalog", 50059, Some(Area::Catalog)),
    spec("inventory", 50052, Some(Area::Inventory)),
    spec("payment", 50053, Some(Area::Payment)),
    spec("shipping", 50054, Some(Area::Shipping)),
    spec("orchestrator", 50055, Some(Area::Saga)),
    spec("order", 50051, Some(Area::Order)),
    spec("gateway", 8080, None),
    spec("relay", 50057, None),
];

/// The service of that name.
#[must_use]
pub fn service(name: &str) -> Option<ServiceSpec> {
    SERVICES.iter().copied().find(|spec| spec.name == name)
}
