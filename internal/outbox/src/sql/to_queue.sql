-- Turns a log into a queue. What is published goes; what is not stays, and is published from the queue.
BEGIN;
SET LOCAL statement_timeout = 0; -- there may be many rows
LOCK TABLE outbox_lane, outbox IN ACCESS EXCLUSIVE MODE;
DELETE FROM outbox o USING outbox_lane l
 WHERE l.lane = o.lane
   AND (pg_visible_in_snapshot(o.xid, l.s1)
        OR l.s2 IS NOT NULL AND o.id <= l.last_id AND pg_visible_in_snapshot(o.xid, l.s2));
CREATE OR REPLACE FUNCTION outbox_pending() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM outbox';
DROP INDEX outbox_xid;
ALTER TABLE outbox DROP COLUMN xid;
ALTER TABLE outbox_lane DROP COLUMN s1, DROP COLUMN s2, DROP COLUMN last_id;
DROP TABLE outbox_log;
COMMIT;
