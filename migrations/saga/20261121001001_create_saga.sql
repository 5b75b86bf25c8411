-- Sagas: one head row each, what they were given, and what happened to them.
CREATE TABLE plan (
  id         int         GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name       text        NOT NULL,
  version    int         NOT NULL CHECK (version > 0),
  hash       text        NOT NULL UNIQUE,
  body       bytea       NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (name, version)
);
COMMENT ON TABLE  plan IS 'Plans, resolved; never edited, and not deleted while a saga refers to them';
COMMENT ON COLUMN plan.id IS 'Stands in saga rows';
COMMENT ON COLUMN plan.name IS 'Such as place-order';
COMMENT ON COLUMN plan.version IS 'Counts from 1';
COMMENT ON COLUMN plan.hash IS 'SHA-256 of the body, hex';
COMMENT ON COLUMN plan.body IS 'The resolved plan, JSON';
COMMENT ON COLUMN plan.created_at IS 'When it was registered';

CREATE TABLE saga (
  id           uuid        PRIMARY KEY,
  lane         smallint    NOT NULL,
  plan_id      int         NOT NULL REFERENCES plan,
  plan_name    text        NOT NULL,
  business_key text        NOT NULL,
  version      bigint      NOT NULL,
  state        text        NOT NULL CHECK (state IN ('running', 'compensating', 'completed', 'compensated', 'needs-attention')),
  body         bytea       NOT NULL,
  waits_for    text        CHECK (waits_for IN ('reply', 'backoff', 'settle', 'operator', 'hold')),
  waits_step   text,
  wait_until   timestamptz,
  wake_at      timestamptz,
  progress_at  timestamptz NOT NULL DEFAULT now(),
  started_at   timestamptz NOT NULL DEFAULT now(),
  traceparent  text,
  tracestate   text,
  baggage      text,
  CONSTRAINT saga_has_a_wake_up CHECK (state NOT IN ('running', 'compensating') OR wake_at IS NOT NULL)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
COMMENT ON TABLE  saga IS 'Head rows: the state of each saga. A writer with a stale version loses';
COMMENT ON COLUMN saga.id IS 'UUIDv7, drawn by the starter';
COMMENT ON COLUMN saga.lane IS 'Hash of the id: timers are read by lane';
COMMENT ON COLUMN saga.plan_id IS 'The plan it is pinned to';
COMMENT ON COLUMN saga.plan_name IS 'Copy of the plan''s name, for the unique key';
COMMENT ON COLUMN saga.business_key IS 'What it is about: one saga for each plan name and key';
COMMENT ON COLUMN saga.version IS 'Raised by each transition; the fence of concurrent writers';
COMMENT ON COLUMN saga.state IS 'Where it is; the whole state stands in body';
COMMENT ON COLUMN saga.body IS 'State of the engine, JSON';
COMMENT ON COLUMN saga.waits_for IS 'What it waits for; null at the end';
COMMENT ON COLUMN saga.waits_step IS 'The step it waits for';
COMMENT ON COLUMN saga.wait_until IS 'When that is due';
COMMENT ON COLUMN saga.wake_at IS 'Lower bound of the next timer: lowered at once, raised only when it fires, so that the index is left alone';
COMMENT ON COLUMN saga.progress_at IS 'When a step was last settled, or the state last changed: retries are no progress';
COMMENT ON COLUMN saga.started_at IS 'When it started';
COMMENT ON COLUMN saga.traceparent IS 'Trace context of the saga''s anchor span';
COMMENT ON COLUMN saga.tracestate IS 'Trace context of the saga''s anchor span';
COMMENT ON COLUMN saga.baggage IS 'Trace context of the saga''s anchor span';
CREATE UNIQUE INDEX saga_business_key ON saga (plan_name, business_key);
CREATE INDEX saga_wake ON saga (lane, wake_at) WHERE wake_at IS NOT NULL; -- due timers
CREATE INDEX saga_live ON saga (state, id) WHERE state IN ('running', 'compensating', 'needs-attention'); -- lists of what is not over

CREATE TABLE saga_history (
  saga_id uuid        NOT NULL,
  version bigint      NOT NULL,
  at      timestamptz NOT NULL,
  kind    smallint    NOT NULL,
  body    bytea       NOT NULL,
  PRIMARY KEY (saga_id, version)
) PARTITION BY RANGE (saga_id);
COMMENT ON TABLE  saga_history IS 'One row a transition, never changed';
COMMENT ON COLUMN saga_history.saga_id IS 'The saga';
COMMENT ON COLUMN saga_history.version IS 'Version of the saga after the transition';
COMMENT ON COLUMN saga_history.at IS 'Database time of the transition';
COMMENT ON COLUMN saga_history.kind IS 'The input: 1 start, 2 reply, 3 due, 4 verb, 5 breaker';
COMMENT ON COLUMN saga_history.body IS 'Input, effects and state after it, JSON';
CREATE TABLE saga_history_default PARTITION OF saga_history DEFAULT;

CREATE TABLE saga_payload (
  saga_id uuid  NOT NULL,
  slot    text  NOT NULL,
  kind    text  NOT NULL,
  body    bytea NOT NULL,
  PRIMARY KEY (saga_id, slot)
) PARTITION BY RANGE (saga_id);
COMMENT ON TABLE  saga_payload IS 'Input, outputs and commands of a saga, each stored once, so that the head row stays small';
COMMENT ON COLUMN saga_payload.saga_id IS 'The saga';
COMMENT ON COLUMN saga_payload.slot IS 'input; out/<step>; cmd/<step>; undo/<step>';
COMMENT ON COLUMN saga_payload.kind IS 'Full name of the message';
COMMENT ON COLUMN saga_payload.body IS 'Protobuf; a command is sent again byte for byte';
CREATE TABLE saga_payload_default PARTITION OF saga_payload DEFAULT;

CREATE TABLE saga_late (
  id      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  saga_id uuid        NOT NULL,
  at      timestamptz NOT NULL DEFAULT now(),
  note    text        NOT NULL,
  body    bytea       NOT NULL
);
COMMENT ON TABLE  saga_late IS 'What came for an unknown saga, or contradicts what is settled: nothing is dropped in silence';
COMMENT ON COLUMN saga_late.saga_id IS 'The saga it names';
COMMENT ON COLUMN saga_late.at IS 'When it came';
COMMENT ON COLUMN saga_late.note IS 'unknown-saga, unreadable, contradiction or start-conflict';
COMMENT ON COLUMN saga_late.body IS 'What came, JSON';

CREATE FUNCTION saga_stuck(s saga) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT CASE
    WHEN s.state NOT IN ('running', 'compensating') THEN NULL
    WHEN EXISTS (SELECT FROM outbox_parked p WHERE p.key = convert_to(s.id::text, 'UTF8')) THEN 'message_parked'
    WHEN s.wake_at IS NULL THEN 'no_wake_up'
    WHEN s.wake_at < now() - interval '30 s' THEN 'timer_not_fired'
    WHEN s.waits_for = 'hold' THEN NULL
    WHEN s.wait_until < now() - interval '30 s' THEN 'late'
    WHEN s.progress_at < now() - interval '10 min' THEN 'no_progress'
  END
$$;
COMMENT ON FUNCTION saga_stuck IS 'Why nothing will come of a saga by itself; null when all is well';
