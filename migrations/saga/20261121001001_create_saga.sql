-- Sagas: one head row each, what they were given, and what happened to them.
CREATE TABLE plan (
  id         int         GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name       text        NOT NULL,
  version    int         NOT NULL CHECK (version > 0),
  hash       text        NOT NULL UNIQUE,
  body       bytea       NOT NULL,
  deadline   interval    NOT NULL DEFAULT '2 min',
  patience   interval    NOT NULL DEFAULT '10 min',
  created_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (name, version)
);
COMMENT ON TABLE  plan IS 'Plans, resolved; never edited, and not deleted while a saga refers to them';
COMMENT ON COLUMN plan.id IS 'Stands in saga rows';
COMMENT ON COLUMN plan.name IS 'Such as place-order';
COMMENT ON COLUMN plan.version IS 'Counts from 1';
COMMENT ON COLUMN plan.hash IS 'SHA-256 of the body, hex';
COMMENT ON COLUMN plan.body IS 'The resolved plan, JSON';
COMMENT ON COLUMN plan.deadline IS 'Copy from the body: a saga that takes longer is overdue';
COMMENT ON COLUMN plan.patience IS 'A saga of which no step has settled for so long makes no progress';
COMMENT ON COLUMN plan.created_at IS 'When it was registered';

CREATE TABLE saga (
  id           uuid        PRIMARY KEY,
  lane         smallint    NOT NULL,
  plan_id      int         NOT NULL,
  plan_name    text        NOT NULL,
  business_key text        NOT NULL,
  version      bigint      NOT NULL,
  state        text        NOT NULL CHECK (state IN ('running', 'compensating', 'completed', 'compensated', 'needs-attention')),
  body         bytea       NOT NULL,
  waits_for    text        CHECK (waits_for IN ('reply', 'backoff', 'settle', 'operator', 'hold')),
  waits_step   text,
  wait_until   timestamptz,
  wake_at      timestamptz,
  owed_since   timestamptz,
  held_by      text,
  closed       text        CHECK (closed IN ('residue-accepted', 'abandoned')),
  progress_at  timestamptz NOT NULL DEFAULT now(),
  started_at   timestamptz NOT NULL DEFAULT now(),
  traceparent  text,
  tracestate   text,
  baggage      text,
  CONSTRAINT saga_has_a_wake_up CHECK (state NOT IN ('running', 'compensating') OR wake_at IS NOT NULL)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
        autovacuum_analyze_scale_factor = 0.5, autovacuum_analyze_threshold = 20000);
COMMENT ON TABLE  saga IS 'Head rows: the state of each saga. A writer with a stale version loses';
COMMENT ON COLUMN saga.id IS 'UUIDv7, drawn by the starter';
COMMENT ON COLUMN saga.lane IS 'Hash of the id: timers are read by lane';
COMMENT ON COLUMN saga.plan_id IS 'The plan it is pinned to; no foreign key, which would lock the plan''s row for each start';
COMMENT ON COLUMN saga.plan_name IS 'Copy of the plan''s name';
COMMENT ON COLUMN saga.business_key IS 'What it is about; saga_key has one saga for each plan name and key';
COMMENT ON COLUMN saga.version IS 'Raised by each transition; the fence of concurrent writers';
COMMENT ON COLUMN saga.state IS 'Where it is; the whole state stands in body';
COMMENT ON COLUMN saga.body IS 'State of the engine, JSON';
COMMENT ON COLUMN saga.waits_for IS 'What it waits for; null at the end';
COMMENT ON COLUMN saga.waits_step IS 'The step it waits for';
COMMENT ON COLUMN saga.wait_until IS 'When that is due';
COMMENT ON COLUMN saga.wake_at IS 'Lower bound of the next timer: lowered at once, raised only when it fires, so that the index is left alone';
COMMENT ON COLUMN saga.owed_since IS 'Since when the oldest step under way is tried that may not fail: a compensation, or one after the pivot';
COMMENT ON COLUMN saga.held_by IS 'The breaker that holds it: participant/direction';
COMMENT ON COLUMN saga.closed IS 'How its case was closed; null while it is open, or was none';
COMMENT ON COLUMN saga.progress_at IS 'When a step was last settled, or the state last changed: retries are no progress';
COMMENT ON COLUMN saga.started_at IS 'When it started';
COMMENT ON COLUMN saga.traceparent IS 'Trace context of the saga''s anchor span';
COMMENT ON COLUMN saga.tracestate IS 'Trace context of the saga''s anchor span';
COMMENT ON COLUMN saga.baggage IS 'Trace context of the saga''s anchor span';
CREATE INDEX saga_wake ON saga (lane, wake_at) WHERE wake_at IS NOT NULL; -- due timers
CREATE INDEX saga_live ON saga (state, id) WHERE state <> 'completed'; -- lists of what is not over, and of what went back
CREATE INDEX saga_open ON saga (id) WHERE state = 'needs-attention' AND closed IS NULL; -- open cases: closed ones pile up
CREATE INDEX saga_held ON saga (held_by, state, id) WHERE held_by IS NOT NULL; -- what a breaker releases, those that go back first

CREATE TABLE saga_history (
  saga_id uuid        NOT NULL,
  version bigint      NOT NULL,
  at      timestamptz NOT NULL,
  kind    smallint    NOT NULL,
  body    bytea       NOT NULL,
  payloads bytea,
  PRIMARY KEY (saga_id, version)
) PARTITION BY RANGE (saga_id);
COMMENT ON TABLE  saga_history IS 'One row a transition, never changed';
COMMENT ON COLUMN saga_history.saga_id IS 'The saga';
COMMENT ON COLUMN saga_history.version IS 'Version of the saga after the transition';
COMMENT ON COLUMN saga_history.at IS 'Database time of the transition';
COMMENT ON COLUMN saga_history.kind IS 'The input: 1 start, 2 reply, 3 due, 4 verb, 5 breaker, 6 migration';
COMMENT ON COLUMN saga_history.body IS 'Input, effects and state after it, JSON';
COMMENT ON COLUMN saga_history.payloads IS 'Messages that came with the input or were first sent, each once, so that the head row stays small: protobuf, a list of slot (input; out/<step>; hand/<step>; cmd/<step>; undo/<step>), full name and bytes. A command is sent again byte for byte';
CREATE TABLE saga_history_default PARTITION OF saga_history DEFAULT -- read by key alone, and dropped before it would be frozen
  WITH (autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_scale_factor = 0.5, autovacuum_analyze_threshold = 20000);

CREATE TABLE saga_key (
  plan_name    text NOT NULL,
  business_key text NOT NULL,
  id           uuid NOT NULL UNIQUE,
  PRIMARY KEY (plan_name, business_key)
);
COMMENT ON TABLE  saga_key IS 'One saga for each plan name and business key, from its start until nothing is left of it: a key outlives the head row';
COMMENT ON COLUMN saga_key.plan_name IS 'Name of the plan, whatever its version';
COMMENT ON COLUMN saga_key.business_key IS 'What the saga is about';
COMMENT ON COLUMN saga_key.id IS 'The saga';

CREATE TABLE saga_archive (
  saga_id      uuid        PRIMARY KEY,
  plan_id      int         NOT NULL,
  plan_name    text        NOT NULL,
  business_key text        NOT NULL,
  version      bigint      NOT NULL,
  state        text        NOT NULL CHECK (state IN ('completed', 'compensated', 'needs-attention')),
  body         bytea       NOT NULL,
  closed       text,
  progress_at  timestamptz NOT NULL,
  started_at   timestamptz NOT NULL,
  traceparent  text,
  archived_at  timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (saga_id);
COMMENT ON TABLE  saga_archive IS 'Heads of sagas that have ended, out of the way of those under way; dropped by day, with their history';
COMMENT ON COLUMN saga_archive.saga_id IS 'The saga; the columns up to started_at are those of saga';
COMMENT ON COLUMN saga_archive.traceparent IS 'Trace context of the saga''s anchor span';
COMMENT ON COLUMN saga_archive.archived_at IS 'When it was put here';
CREATE INDEX saga_archive_state ON saga_archive (state, saga_id) WHERE state <> 'completed'; -- lists of what went back
CREATE TABLE saga_archive_default PARTITION OF saga_archive DEFAULT
  WITH (autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_scale_factor = 0.5, autovacuum_analyze_threshold = 20000);

CREATE TABLE archiving (
  only_row boolean  PRIMARY KEY DEFAULT true CHECK (only_row),
  after    interval NOT NULL DEFAULT '1 day' CHECK (after >= '0')
);
COMMENT ON TABLE  archiving IS 'One row: when a saga that has ended is archived';
COMMENT ON COLUMN archiving.only_row IS 'Keeps it one row';
COMMENT ON COLUMN archiving.after IS 'So long after its last step was settled; raise it above retention.keep to archive nothing';
INSERT INTO archiving DEFAULT VALUES;
INSERT INTO retention (parent, after) VALUES ('saga_history', 'saga'), ('saga_archive', NULL); -- history goes after the heads

CREATE TABLE saga_late (
  id      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  saga_id uuid        NOT NULL,
  at      timestamptz NOT NULL DEFAULT now(),
  note    text        NOT NULL,
  body    bytea       NOT NULL,
  acknowledged_at timestamptz,
  acknowledged_by text
);
COMMENT ON TABLE  saga_late IS 'What came for an unknown saga, or contradicts what is settled: nothing is dropped in silence';
COMMENT ON COLUMN saga_late.saga_id IS 'The saga it names';
COMMENT ON COLUMN saga_late.at IS 'When it came';
COMMENT ON COLUMN saga_late.note IS 'unknown-saga, unreadable, contradiction or start-conflict';
COMMENT ON COLUMN saga_late.body IS 'What came, JSON';
COMMENT ON COLUMN saga_late.acknowledged_at IS 'When somebody has looked at it: then it is no case any more';
COMMENT ON COLUMN saga_late.acknowledged_by IS 'Who has';
CREATE INDEX saga_late_open ON saga_late (saga_id) WHERE note = 'contradiction' AND acknowledged_at IS NULL; -- open cases

CREATE TABLE breaker (
  participant text        NOT NULL,
  direction   text        NOT NULL CHECK (direction IN ('forward', 'backward')),
  state       text        NOT NULL CHECK (state IN ('open', 'closed')),
  since       timestamptz NOT NULL DEFAULT now(),
  why         text        NOT NULL,
  principal   text,
  trial_at    timestamptz,
  PRIMARY KEY (participant, direction),
  CONSTRAINT breaker_trial CHECK (trial_at IS NULL OR state = 'open')
);
COMMENT ON TABLE  breaker IS 'Breakers that are open, or were: while one is, sagas are held before its participant';
COMMENT ON COLUMN breaker.participant IS 'Before whom it stands';
COMMENT ON COLUMN breaker.direction IS 'Whom it holds: those that go forward, or those that go back';
COMMENT ON COLUMN breaker.state IS 'Open: nothing is sent there but trials';
COMMENT ON COLUMN breaker.since IS 'Since when it is so';
COMMENT ON COLUMN breaker.why IS 'Why, in words';
COMMENT ON COLUMN breaker.principal IS 'Who opened or closed it by hand; null: it did so by itself';
COMMENT ON COLUMN breaker.trial_at IS 'When a few sagas are let through next; null when it is closed, or was opened by hand';

CREATE FUNCTION saga_contended() RETURNS uuid[] LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'a saga was moved on by somebody else' USING ERRCODE = 'serialization_failure';
END
$$;
COMMENT ON FUNCTION saga_contended() IS 'Undoes the statement that calls it: somebody else was faster, try again';

CREATE FUNCTION saga_stuck(
  state text, waits_for text, wake_at timestamptz, wait_until timestamptz, progress_at timestamptz,
  patience interval, parked boolean
) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT CASE
    WHEN state NOT IN ('running', 'compensating') THEN NULL
    WHEN parked THEN 'message_parked'
    WHEN wake_at IS NULL THEN 'no_wake_up'
    WHEN wake_at < now() - interval '30 s' THEN 'timer_not_fired'
    WHEN waits_for = 'hold' THEN NULL
    WHEN wait_until < now() - interval '30 s' THEN 'late'
    WHEN progress_at < now() - patience THEN 'no_progress'
  END
$$;
COMMENT ON FUNCTION saga_stuck(text, text, timestamptz, timestamptz, timestamptz, interval, boolean)
  IS 'Why nothing will come of a saga by itself; null when all is well. One expression, so that it is inlined: no call for each row';

CREATE FUNCTION saga_stuck(s saga) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT saga_stuck(s.state, s.waits_for, s.wake_at, s.wait_until, s.progress_at, p.patience,
                    EXISTS (SELECT FROM outbox_parked k WHERE k.key = convert_to(s.id::text, 'UTF8')))
    FROM plan p WHERE p.id = s.plan_id
$$;
COMMENT ON FUNCTION saga_stuck(saga) IS 'The same of one row. Of many, ask saga_case';

CREATE VIEW saga_shown AS
  SELECT s.id, s.plan_id, s.plan_name, s.business_key, s.version, s.state, s.body, s.wake_at, s.wait_until,
         s.held_by, s.progress_at, s.started_at, s.traceparent, k.error AS parked,
         saga_stuck(s.state, s.waits_for, s.wake_at, s.wait_until, s.progress_at, p.patience, k.error IS NOT NULL)
           AS stuck
    FROM saga s
    JOIN plan p ON p.id = s.plan_id
    LEFT JOIN LATERAL (SELECT o.error FROM outbox_parked o
                        WHERE o.key = convert_to(s.id::text, 'UTF8') ORDER BY o.id LIMIT 1) k ON true;
COMMENT ON VIEW saga_shown IS 'Sagas as they are shown; the other columns are those of saga';
COMMENT ON COLUMN saga_shown.parked IS 'Why its oldest parked record was parked';
COMMENT ON COLUMN saga_shown.stuck IS 'Why nothing will come of it by itself; null when all is well';

CREATE VIEW saga_case AS
  SELECT s.id, c.class, c.since
    FROM saga s
    JOIN plan p ON p.id = s.plan_id
    LEFT JOIN (SELECT DISTINCT key FROM outbox_parked) k ON k.key = convert_to(s.id::text, 'UTF8')
    CROSS JOIN LATERAL (VALUES
      (saga_stuck(s.state, s.waits_for, s.wake_at, s.wait_until, s.progress_at, p.patience, k.key IS NOT NULL),
       s.progress_at),
      (CASE WHEN s.waits_for IS DISTINCT FROM 'hold' AND s.owed_since < now() - interval '10 min' THEN 'attention' END,
       s.owed_since),
      (CASE WHEN s.waits_for IS DISTINCT FROM 'hold' AND s.state = 'running'
             AND s.started_at < now() - p.deadline - interval '5 s' THEN 'overdue' END,
       s.started_at + p.deadline)
    ) AS c(class, since)
   WHERE s.state IN ('running', 'compensating') AND c.class IS NOT NULL
     -- what is in order is passed over cheaply; each class above has its line here
     AND (k.key IS NOT NULL OR s.wake_at IS NULL OR s.wake_at < now() - interval '30 s'
          OR s.wait_until < now() - interval '30 s' OR s.progress_at < now() - p.patience
          OR s.owed_since < now() - interval '10 min'
          OR s.started_at < now() - p.deadline - interval '5 s')
  UNION ALL
  SELECT s.id, 'needs_attention', s.progress_at
    FROM saga s WHERE s.state = 'needs-attention' AND s.closed IS NULL
  UNION ALL
  SELECT s.id, 'expiring', s.started_at
    FROM saga s
   WHERE s.state IN ('running', 'compensating', 'needs-attention') AND s.closed IS NULL
     AND s.id < (SELECT uuid_at(now() - r.keep + interval '1 day') FROM retention r WHERE r.parent = 'saga_history')
  UNION ALL
  SELECT l.saga_id, 'contradiction', min(l.at)
    FROM saga_late l
   WHERE l.note = 'contradiction' AND l.acknowledged_at IS NULL AND l.at > now() - interval '7 days'
   GROUP BY l.saga_id;
COMMENT ON VIEW saga_case IS 'Sagas that somebody should look at, each with the classes of its cases; computed, so that a case closes itself when its reason is gone';
COMMENT ON COLUMN saga_case.id IS 'The saga';
COMMENT ON COLUMN saga_case.class IS 'Why: a reason of saga_stuck, attention, overdue, needs_attention, expiring (participants will refuse it as too old) or contradiction';
COMMENT ON COLUMN saga_case.since IS 'Since when, as far as that is known';
