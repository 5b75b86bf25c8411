-- A page of a window that is large: by the primary key, after the last id. NOT visible in s1 is opaque to
-- the planner, which is what keeps it on that key.
SELECT o.lane, o.id, o.topic, o.event_id, o.created_at, o.key, o.traceparent, o.tracestate, o.baggage,
       o.headers, o.payload
  FROM (SELECT lane, s1::pg_snapshot AS s1, s2::pg_snapshot AS s2, last_id
          FROM unnest($1::smallint[], $2::text[], $3::text[], $4::bigint[]) AS g(lane, s1, s2, last_id)
        OFFSET 0) AS l
 CROSS JOIN LATERAL (
       SELECT * FROM outbox
        WHERE lane = l.lane AND id > l.last_id
          AND NOT pg_visible_in_snapshot(xid, l.s1) AND pg_visible_in_snapshot(xid, l.s2)
        ORDER BY id LIMIT $5) AS o
