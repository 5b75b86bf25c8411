//! The REST edge
