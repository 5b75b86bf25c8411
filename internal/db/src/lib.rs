//! PostgreSQL: pools, named transactions, migrations
