-- The transactional outbox: what a committed transaction still has to say to Kafka.
CREATE TABLE outbox_topic (
  id         smallint PRIMARY KEY,
  name       text NOT NULL UNIQUE,
  partitions int  NOT NULL CHECK (partitions > 0)
);
COMMENT ON TABLE  outbox_topic IS 'Dictionary of topics, filled by palinode migrate; a number in each row instead of a text';
COMMENT ON COLUMN outbox_topic.id IS 'Number of the topic, the same in every database of a stack';
COMMENT ON COLUMN outbox_topic.name IS 'Name of the topic on Kafka, with its prefix';
COMMENT ON COLUMN outbox_topic.partitions IS 'Number of partitions; a divisor of 64, the number of lanes';

CREATE TABLE outbox (
  id          bigint      GENERATED ALWAYS AS IDENTITY (CACHE 1),
  lane        smallint    NOT NULL,
  topic       smallint    NOT NULL,
  event_id    uuid        NOT NULL,
  created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  key         bytea       NOT NULL,
  traceparent text,
  tracestate  text,
  baggage     text,
  headers     bytea       NOT NULL,
  payload     bytea       NOT NULL,
  PRIMARY KEY (lane, id)
) WITH (vacuum_truncate = off, -- giving space back to the disk locks writers out for tens of milliseconds
        autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 1000000); -- of a table that empties itself nothing is to be learnt
COMMENT ON TABLE  outbox IS 'Records that are committed and not yet acknowledged by Kafka; the relay deletes exactly what was acknowledged';
COMMENT ON COLUMN outbox.id IS 'Order of the records of one key: drawn after the row of the key is locked; CACHE 1 keeps that true';
COMMENT ON COLUMN outbox.lane IS 'Positive murmur2 of the key modulo 64';
COMMENT ON COLUMN outbox.topic IS 'Number in outbox_topic';
COMMENT ON COLUMN outbox.event_id IS 'ce_id: what consumers tell repeats by';
COMMENT ON COLUMN outbox.created_at IS 'When the row was written, database time';
COMMENT ON COLUMN outbox.key IS 'Key of the Kafka record: a saga id or an aggregate id, as text';
COMMENT ON COLUMN outbox.traceparent IS 'Trace context of the creation, forwarded byte for byte';
COMMENT ON COLUMN outbox.tracestate IS 'Trace context of the creation, forwarded byte for byte';
COMMENT ON COLUMN outbox.baggage IS 'Trace context of the creation, forwarded byte for byte';
COMMENT ON COLUMN outbox.headers IS 'The other headers, already encoded';
COMMENT ON COLUMN outbox.payload IS 'Protobuf';

CREATE TABLE outbox_lane (
  lane        smallint    PRIMARY KEY,
  owner       uuid,
  epoch       bigint      NOT NULL DEFAULT 0,
  lease_until timestamptz NOT NULL DEFAULT '-infinity',
  paused      boolean     NOT NULL DEFAULT false,
  verdict_seq bigint      NOT NULL DEFAULT 0
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);
COMMENT ON TABLE  outbox_lane IS 'Who publishes which lane, and until when';
COMMENT ON COLUMN outbox_lane.lane IS '0 to 63';
COMMENT ON COLUMN outbox_lane.owner IS 'The relay worker that took the lane last';
COMMENT ON COLUMN outbox_lane.epoch IS 'Raised by each taking: an owner of an older epoch has lost the lane';
COMMENT ON COLUMN outbox_lane.lease_until IS 'The lane is free from then on, database time';
COMMENT ON COLUMN outbox_lane.paused IS 'An operator holds the lane: nothing is read from it';
COMMENT ON COLUMN outbox_lane.verdict_seq IS 'Raised when a parked record got a verdict: the owner reads its parked keys again';
INSERT INTO outbox_lane (lane) SELECT generate_series(0, 63);

CREATE TABLE outbox_worker (
  id            uuid PRIMARY KEY,
  seen_until    timestamptz NOT NULL,
  session       int,
  session_start timestamptz
);
COMMENT ON TABLE  outbox_worker IS 'Heartbeats of relay workers: 64 lanes divided by the living gives the fair share';
COMMENT ON COLUMN outbox_worker.id IS 'The worker, as in outbox_lane.owner';
COMMENT ON COLUMN outbox_worker.seen_until IS 'It counts as living until then, database time';
COMMENT ON COLUMN outbox_worker.session IS 'Process of the server that serves the connection of its leases: gone, the worker is dead before its leases end';
COMMENT ON COLUMN outbox_worker.session_start IS 'When that process began, for numbers are used again';
CREATE FUNCTION outbox_worker_is_dead(session int, session_start timestamptz) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT session IS NOT NULL AND NOT EXISTS (
    SELECT FROM pg_stat_get_activity(session) a WHERE coalesce(a.backend_start = session_start, true))
$$;
COMMENT ON FUNCTION outbox_worker_is_dead IS 'Whether the session is over; one that may not be looked at is believed to live';

CREATE FUNCTION outbox_pending() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM outbox';
COMMENT ON FUNCTION outbox_pending IS 'Rows that are not published, by the shape that the outbox has';

CREATE TABLE outbox_parked (
  id          bigint      NOT NULL,
  lane        smallint    NOT NULL,
  topic       smallint    NOT NULL,
  event_id    uuid        NOT NULL,
  created_at  timestamptz NOT NULL,
  key         bytea       NOT NULL,
  traceparent text,
  tracestate  text,
  baggage     text,
  headers     bytea       NOT NULL,
  payload     bytea       NOT NULL,
  error       text        NOT NULL,
  parked_at   timestamptz NOT NULL DEFAULT now(),
  behind      boolean     NOT NULL DEFAULT false,
  verdict     text        CHECK (verdict IN ('replay', 'skip')),
  PRIMARY KEY (lane, id)
);
COMMENT ON TABLE  outbox_parked IS 'Records that can never be published as they are, and the later ones of their topic and key';
COMMENT ON COLUMN outbox_parked.error IS 'Why; the columns before it are those of outbox';
COMMENT ON COLUMN outbox_parked.parked_at IS 'When it was parked';
COMMENT ON COLUMN outbox_parked.behind IS 'Without a fault of its own: an earlier record of its topic and key is parked';
COMMENT ON COLUMN outbox_parked.verdict IS 'What the owner of the lane is to do with it; empty once it is parked again';
CREATE INDEX outbox_parked_key ON outbox_parked (lane, key, id); -- the owner asks for the parked keys of its lanes
CREATE INDEX outbox_parked_of_key ON outbox_parked (key); -- what of one saga or aggregate is parked

CREATE TABLE parked_verdict (
  id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  record     text        NOT NULL,
  topic      text        NOT NULL,
  key        bytea,
  verdict    text        NOT NULL CHECK (verdict IN ('replay', 'skip')),
  principal  text        NOT NULL,
  reason     text        NOT NULL,
  decided_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE  parked_verdict IS 'Who decided what about a parked record, and why; written with the verdict, kept when the record is gone';
COMMENT ON COLUMN parked_verdict.id IS 'Order of the verdicts';
COMMENT ON COLUMN parked_verdict.record IS 'The record: id of outbox_parked, or topic/partition/offset of consumer_parked';
COMMENT ON COLUMN parked_verdict.topic IS 'Its topic on Kafka';
COMMENT ON COLUMN parked_verdict.key IS 'Its key';
COMMENT ON COLUMN parked_verdict.verdict IS 'replay: again, in the order of its key; skip: never, and what is behind it goes on';
COMMENT ON COLUMN parked_verdict.principal IS 'Who';
COMMENT ON COLUMN parked_verdict.reason IS 'Why';
COMMENT ON COLUMN parked_verdict.decided_at IS 'When';
