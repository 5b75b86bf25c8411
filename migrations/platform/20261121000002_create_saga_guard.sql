-- What a participant did for a saga's step: an effect happens once, a late action is refused.
CREATE TABLE saga_guard (
  saga_id       uuid NOT NULL,
  step          text NOT NULL,
  act           text NOT NULL CHECK (act  IN ('none', 'pending', 'done', 'failed', 'closed')),
  act_hash      bytea,
  act_result    bytea,
  comp          text NOT NULL CHECK (comp IN ('none', 'pending', 'done', 'closed')),
  comp_result   bytea,
  pending_until timestamptz,
  updated_at    timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (saga_id, step),
  CHECK (comp = 'none' OR act <> 'none')
) PARTITION BY RANGE (saga_id);
COMMENT ON TABLE  saga_guard IS 'One row a saga and step, written in the transaction of the effect';
COMMENT ON COLUMN saga_guard.saga_id IS 'UUIDv7 of the saga';
COMMENT ON COLUMN saga_guard.step IS 'Step of the plan; its action and its compensation share the row';
COMMENT ON COLUMN saga_guard.act IS 'The action: none, pending (called outside, or waiting), done, failed (a verdict), closed (never to be done)';
COMMENT ON COLUMN saga_guard.act_hash IS 'SHA-256 of the body of the action; null if the compensation came first';
COMMENT ON COLUMN saga_guard.act_result IS 'The reply that is replayed to duplicates of the action, protobuf palinode.saga.v1.StepReply';
COMMENT ON COLUMN saga_guard.comp IS 'The compensation: none, pending, done, closed (shut by a resolve)';
COMMENT ON COLUMN saga_guard.comp_result IS 'The reply that is replayed to duplicates of the compensation';
COMMENT ON COLUMN saga_guard.pending_until IS 'When a pending answer is expected at the latest';
COMMENT ON COLUMN saga_guard.updated_at IS 'When the row last changed';
CREATE TABLE saga_guard_default PARTITION OF saga_guard DEFAULT
  WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_scale_factor = 0.5, autovacuum_analyze_threshold = 20000);
