-- Turns a log back into a queue. Every row must be published.
BEGIN;
LOCK TABLE outbox, outbox_lane IN ACCESS EXCLUSIVE MODE;
DO $$ BEGIN
  IF EXISTS (SELECT FROM outbox_lane l
              WHERE s2 IS NOT NULL
                 OR EXISTS (SELECT FROM outbox WHERE lane = l.lane AND xid >= pg_snapshot_xmax(l.s1))
                 OR EXISTS (SELECT FROM pg_snapshot_xip(l.s1) AS x(xid) JOIN outbox o
                                     ON o.lane = l.lane AND o.xid = x.xid)) THEN
    RAISE EXCEPTION 'the outbox is not drained: let the relay publish everything first' USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
END $$;
TRUNCATE outbox;
DROP INDEX outbox_xid;
ALTER TABLE outbox DROP COLUMN xid;
ALTER TABLE outbox_lane DROP COLUMN s1, DROP COLUMN s2, DROP COLUMN last_id;
DROP TABLE outbox_log;
COMMIT;
