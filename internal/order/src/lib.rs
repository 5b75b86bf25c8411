//! Places orders and starts their sagas
