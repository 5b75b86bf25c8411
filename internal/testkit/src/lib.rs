//! Real PostgreSQL and Kafka for tests and for palinode dev: launchers, databases, waiting
