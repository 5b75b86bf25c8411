-- The smallest id of each lane that s1 does not see: where a large window begins.
SELECT l.lane,
       least((SELECT min(id) FROM (SELECT id FROM outbox WHERE lane = l.lane AND xid >= l.xmax
                                   OFFSET 0) AS later),
             (SELECT min(f.id) FROM pg_snapshot_xip(l.s1) AS x(xid) CROSS JOIN LATERAL (
                     SELECT id FROM outbox WHERE lane = l.lane AND xid = x.xid OFFSET 0) AS f)) AS id
  FROM (SELECT lane, s1::pg_snapshot AS s1, pg_snapshot_xmax(s1::pg_snapshot) AS xmax
          FROM unnest($1::smallint[], $2::text[]) AS g(lane, s1) OFFSET 0) AS l
