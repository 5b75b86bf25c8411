//! Stock and reservations
