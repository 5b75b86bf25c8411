-- Turns an outbox into a log; where it is one already, sets a new base. Every row that is there counts as not
-- yet published. Who writes meanwhile waits; whoever began before and writes afterwards is in flight at the
-- base, so nothing of it is missed.
BEGIN;
SET LOCAL statement_timeout = 0; -- rows are written anew
LOCK TABLE outbox_lane, outbox IN ACCESS EXCLUSIVE MODE;
ALTER TABLE outbox ADD COLUMN IF NOT EXISTS xid xid8 NOT NULL DEFAULT pg_current_xact_id();
UPDATE outbox SET xid = pg_current_xact_id() WHERE xid <> pg_current_xact_id();
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
INSERT INTO outbox_log (system_identifier) SELECT system_identifier FROM pg_control_system()
    ON CONFLICT (one) DO UPDATE SET system_identifier = excluded.system_identifier;
CREATE OR REPLACE FUNCTION outbox_pending() RETURNS bigint LANGUAGE sql STABLE AS $$
  SELECT count(*) FROM outbox o JOIN outbox_lane l USING (lane)
   WHERE NOT (pg_visible_in_snapshot(o.xid, l.s1)
              OR l.s2 IS NOT NULL AND o.id <= l.last_id AND pg_visible_in_snapshot(o.xid, l.s2)) $$;
-- The base sees what ended before this statement, and not this transaction, which owns every row by now: a
-- snapshot of its own would, for it leaves itself out of what is in flight. Nor anything that began after the
-- last that ended: a snapshot lists only what is in flight below its xmax, so that one must not be raised.
UPDATE outbox_lane
   SET s1 = (SELECT format('%s:%s:%s', least(pg_snapshot_xmin(now), me), least(pg_snapshot_xmax(now), me),
                           (SELECT string_agg(x::text, ',' ORDER BY x) FROM pg_snapshot_xip(now) AS x WHERE x < me))
               FROM (SELECT pg_current_snapshot() AS now, pg_current_xact_id() AS me) AS at)::pg_snapshot,
       s2 = NULL, last_id = 0;
COMMIT;
