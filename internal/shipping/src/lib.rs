//! Shipments
