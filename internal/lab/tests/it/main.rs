//! The whole platform in one process, on real PostgreSQL and a broker.

mod flow;
mod invariants;
mod rig;
