-- Turns an empty outbox into a log. Who writes to it meanwhile waits; whoever began before and writes
-- afterwards is in flight at the base, so nothing of it is missed.
BEGIN;
LOCK TABLE outbox, outbox_lane IN ACCESS EXCLUSIVE MODE;
DO $$ BEGIN
  IF EXISTS (SELECT FROM outbox) THEN
    RAISE EXCEPTION 'the outbox is not empty: let the relay drain it first' USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
END $$;
ALTER TABLE outbox ADD COLUMN IF NOT EXISTS xid xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX IF NOT EXISTS outbox_xid ON outbox (lane, xid);
ALTER TABLE outbox_lane ADD COLUMN IF NOT EXISTS s1 pg_snapshot NOT NULL DEFAULT pg_current_snapshot(),
                        ADD COLUMN IF NOT EXISTS s2 pg_snapshot,
                        ADD COLUMN IF NOT EXISTS last_id bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN outbox.xid IS 'Transaction that wrote the row: tells which snapshots see it';
COMMENT ON COLUMN outbox_lane.s1 IS 'Everything that this snapshot sees is published';
COMMENT ON COLUMN outbox_lane.s2 IS 'And what this one sees besides, up to last_id; empty: nothing more';
COMMENT ON COLUMN outbox_lane.last_id IS 'See s2';
CREATE TABLE IF NOT EXISTS outbox_log (
  one               boolean PRIMARY KEY DEFAULT true CHECK (one),
  system_identifier bigint  NOT NULL
);
COMMENT ON TABLE  outbox_log IS 'There while the outbox is a log: the server that its snapshots are of';
COMMENT ON COLUMN outbox_log.one IS 'One row';
COMMENT ON COLUMN outbox_log.system_identifier IS 'Of pg_control_system(): another one after a restore elsewhere';
-- the base: no row is older, for there is none
INSERT INTO outbox_log (system_identifier) SELECT system_identifier FROM pg_control_system()
    ON CONFLICT (one) DO UPDATE SET system_identifier = excluded.system_identifier;
UPDATE outbox_lane SET s1 = pg_current_snapshot(), s2 = NULL, last_id = 0;
COMMIT;
