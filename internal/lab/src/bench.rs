//! `palinode bench`: what is claimed, measured.
//!
//! Rooms: `report`, `machine`, `meter` with `processes`, `latencies`, `plot` and `bar` are the
//! frame; `site` is what a bench stands on; `load` places orders; the others are a bench each.

mod at_rest;
mod bar;
mod edge;
mod floor;
mod growth;
mod latencies;
mod load;
mod machine;
mod meter;
mod plot;
mod processes;
mod recovery;
mod relay;
mod report;
mod sagas;
mod shop;
mod sink;
mod site;
mod telemetry;
mod xmin;

pub use at_rest::{AtRest, at_rest};
pub use bar::Bar;
pub use edge::{Edge, edge};
pub use floor::{Floor, floor};
pub use growth::{Growth, growth};
pub use latencies::Latencies;
pub use load::{Length, Load, Outcome, Pace, Phase, Progress, Running, Through};
pub use machine::Machine;
pub use meter::{Meter, Usage};
pub use plot::Plot;
pub use recovery::{Recovery, recovery};
pub use relay::{RelayBench, relay};
pub use report::{Figures, Report};
pub use sagas::{IN_FLIGHT, Sagas, latency, sagas};
pub use shop::Shop;
pub use site::{Common, Site};
pub use telemetry::telemetry;
pub use xmin::xmin;
