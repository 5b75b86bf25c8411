-- Fenced: nobody takes a lane while its row is locked, so that its next owner sees what is parked. KEY SHARE is in
-- the way of that alone, not of renewals. A row may be parked already: a log parks before its cursor has passed, and
-- a dump may hold both.
WITH held AS MATERIALIZED (
  SELECT l.lane
    FROM outbox_lane l
   WHERE l.owner = $1
     AND EXISTS (SELECT FROM unnest($2::smallint[], $3::bigint[]) AS a(lane, epoch)
                  WHERE a.lane = l.lane AND a.epoch = l.epoch)
   FOR KEY SHARE
), gone AS (
  DELETE FROM outbox o
   USING unnest($2::smallint[], $4::bigint[], $5::text[], $6::bool[]) AS r(lane, id, error, behind)
    JOIN held USING (lane)
   WHERE o.lane = r.lane AND o.id = r.id
  RETURNING o.*, r.error, r.behind
), parked AS (
  INSERT INTO outbox_parked (id, lane, topic, event_id, created_at, key, traceparent, tracestate, baggage,
                             headers, payload, error, behind)
  SELECT id, lane, topic, event_id, created_at, key, traceparent, tracestate, baggage, headers, payload,
         error, behind FROM gone
      ON CONFLICT DO NOTHING
)
SELECT lane AS "lane!" FROM held
