-- What became visible between the snapshots s1 (of each lane) and s2 ($3), in order of lane and id, at
-- most 2 * $4 rows of a lane: with $4 or more there may be others, and the lane is read another way.
-- Two branches, and OFFSET 0 in the second: else the planner uses only the lane of the index (lane, xid).
SELECT o.lane, o.id, o.topic, o.event_id, o.created_at, o.key, o.traceparent, o.tracestate, o.baggage,
       o.headers, o.payload
  FROM (SELECT lane, s1::pg_snapshot AS s1, pg_snapshot_xmax(s1::pg_snapshot) AS xmax
          FROM unnest($1::smallint[], $2::text[]) AS g(lane, s1) OFFSET 0) AS l
 CROSS JOIN LATERAL (
       SELECT * FROM (
         (SELECT * FROM outbox
           WHERE lane = l.lane AND xid >= l.xmax AND pg_visible_in_snapshot(xid, $3::text::pg_snapshot)
           LIMIT $4)
         UNION ALL
         (SELECT f.* FROM pg_snapshot_xip(l.s1) AS x(xid) CROSS JOIN LATERAL (
                 SELECT * FROM outbox WHERE lane = l.lane AND xid = x.xid OFFSET 0) AS f
           WHERE pg_visible_in_snapshot(f.xid, $3::text::pg_snapshot)
           LIMIT $4)) AS w
        ORDER BY id) AS o
