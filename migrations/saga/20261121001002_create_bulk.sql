-- Bulks: one verb for many sagas, frozen when it is prepared.
CREATE TABLE bulk (
  id         uuid        PRIMARY KEY,
  verb       bytea       NOT NULL,
  filter     bytea       NOT NULL,
  reason     text        NOT NULL,
  principal  text        NOT NULL,
  rate       int         NOT NULL CHECK (rate BETWEEN 1 AND 1000),
  moved_too  bool        NOT NULL,
  key        text,
  fingerprint bytea,
  state      text        NOT NULL CHECK (state IN ('prepared', 'running', 'stopped', 'done')),
  size       int         NOT NULL,
  preview    bytea       NOT NULL,
  done       int         NOT NULL DEFAULT 0,
  refused    int         NOT NULL DEFAULT 0,
  moved      int         NOT NULL DEFAULT 0,
  failed     int         NOT NULL DEFAULT 0,
  next_at    timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  started_at timestamptz,
  ended_at   timestamptz,
  CONSTRAINT bulk_key_is_whole CHECK ((key IS NULL) = (fingerprint IS NULL)),
  CONSTRAINT bulk_has_a_next_slice CHECK ((state = 'running') = (next_at IS NOT NULL)),
  CONSTRAINT bulk_ends_once CHECK ((state = 'done') = (ended_at IS NOT NULL)),
  CONSTRAINT bulk_counts_each_saga_once CHECK (done + refused + moved + failed <= size)
);
COMMENT ON TABLE  bulk IS 'One verb for many sagas: prepared, run at a set rate, stopped and run again, done';
COMMENT ON COLUMN bulk.id IS 'UUIDv7';
COMMENT ON COLUMN bulk.verb IS 'What is done with each saga, JSON';
COMMENT ON COLUMN bulk.filter IS 'Which sagas were meant, as it was asked for, protobuf';
COMMENT ON COLUMN bulk.reason IS 'Why; goes into the history of each saga';
COMMENT ON COLUMN bulk.principal IS 'Who; goes into the history of each saga';
COMMENT ON COLUMN bulk.rate IS 'Sagas per second';
COMMENT ON COLUMN bulk.moved_too IS 'Whether sagas that have moved on since are acted on too';
COMMENT ON COLUMN bulk.key IS 'Idempotency-Key of the request: a repeat by the same principal is answered with this bulk. Forgotten after seven days, or with the bulk';
COMMENT ON COLUMN bulk.fingerprint IS 'SHA-256 of the request: the same key with another one is a conflict';
COMMENT ON COLUMN bulk.state IS 'Who moves it on: prepared, stopped: an operator; running: any orchestrator; done: nobody';
COMMENT ON COLUMN bulk.size IS 'How many sagas were frozen';
COMMENT ON COLUMN bulk.preview IS 'Counts of what would have been done when it was prepared, JSON';
COMMENT ON COLUMN bulk.done IS 'Sagas with which it was done';
COMMENT ON COLUMN bulk.refused IS 'Sagas that refused it';
COMMENT ON COLUMN bulk.moved IS 'Sagas that had moved on, and were left alone';
COMMENT ON COLUMN bulk.failed IS 'Sagas that could not be interpreted, and were left alone';
COMMENT ON COLUMN bulk.next_at IS 'When the next slice is due: it keeps the rate over all orchestrators';
COMMENT ON COLUMN bulk.created_at IS 'When it was prepared; one that is not run is forgotten an hour later';
COMMENT ON COLUMN bulk.started_at IS 'When it was first run';
COMMENT ON COLUMN bulk.ended_at IS 'When its last saga was looked at; it is kept for 30 days more';
CREATE UNIQUE INDEX bulk_one_a_key ON bulk (principal, key) WHERE key IS NOT NULL;
CREATE INDEX bulk_due ON bulk (next_at) WHERE next_at IS NOT NULL; -- slices that are due

CREATE TABLE bulk_item (
  bulk_id  uuid   NOT NULL REFERENCES bulk ON DELETE CASCADE,
  saga_id  uuid   NOT NULL,
  version  bigint NOT NULL,
  outcome  text   CHECK (outcome IN ('done', 'refused', 'moved', 'failed')),
  rule     text,
  words    text,
  PRIMARY KEY (bulk_id, saga_id),
  CONSTRAINT bulk_item_says_why CHECK ((outcome IS DISTINCT FROM 'refused') = (rule IS NULL))
);
COMMENT ON TABLE  bulk_item IS 'The sagas of a bulk, each with the version that was frozen';
COMMENT ON COLUMN bulk_item.bulk_id IS 'The bulk';
COMMENT ON COLUMN bulk_item.saga_id IS 'The saga';
COMMENT ON COLUMN bulk_item.version IS 'Its version when the bulk was prepared: it is left alone if it has moved on';
COMMENT ON COLUMN bulk_item.outcome IS 'What came of it; null: not looked at yet';
COMMENT ON COLUMN bulk_item.rule IS 'The rule that refused it';
COMMENT ON COLUMN bulk_item.words IS 'The rule in words';
CREATE INDEX bulk_item_open ON bulk_item (bulk_id, saga_id) WHERE outcome IS NULL; -- what is still to be done
