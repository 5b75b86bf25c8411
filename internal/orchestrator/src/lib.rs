//! Runs sagas: the engine on PostgreSQL
