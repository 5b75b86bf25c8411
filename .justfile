# Each recipe is one or two plain commands, to copy where there is no `just`.

# Lists the recipes.
default:
    @just --list

# Runs the hook before each commit.
setup:
    git config core.hooksPath .githooks

# Format, lints, statements, who names whom, contracts, documentation.
check:
    .ci/check

# All tests, on the machine's PostgreSQL or a fetched one.
test *arguments:
    cargo test {{arguments}}

# All tests beside a real Kafka (needs Java 17, and Maven once).
test-kafka:
    cargo run --quiet -p palinode-testkit --bin run-with-kafka -- cargo test

# Everything in one process, on embedded defaults.
dev *arguments:
    cargo dev {{arguments}}

# Kafka, PostgreSQL and every service as a process of its own.
up *arguments:
    deploy/local/up {{arguments}}

# Writes the query data of the SQL statements; with `--check`, compares it.
prepare-sql *arguments:
    cargo run --quiet -p palinode-testkit --bin prepare-sql -- {{arguments}}

# Orders on a throw-away stack, and the verdict on them.
demo *arguments:
    cargo run --quiet -p palinode -- demo --embedded {{arguments}}

# Orders while every service is killed and restarted (Java 17, and Maven once, for a real Kafka).
chaos *arguments:
    cargo run --quiet -p palinode -- demo --chaos {{arguments}}
