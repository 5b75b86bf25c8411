-- Empties a log that is published whole, in a moment in which nobody writes to it; else nothing is done.
DO $$ BEGIN
  LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE NOWAIT;
  IF NOT EXISTS (SELECT FROM outbox_lane l
                  WHERE s2 IS NOT NULL
                     OR EXISTS (SELECT FROM outbox WHERE lane = l.lane AND xid >= pg_snapshot_xmax(l.s1))
                     OR EXISTS (SELECT FROM pg_snapshot_xip(l.s1) AS x(xid) JOIN outbox o
                                         ON o.lane = l.lane AND o.xid = x.xid)) THEN
    TRUNCATE outbox;
  END IF;
EXCEPTION WHEN lock_not_available THEN NULL;
END $$
