-- The smallest id of each lane that s1 does not see: where a large window begins. Without one where there are
-- very many: all of them would have to be looked at, and to step over what is published costs less then.
SELECT l.lane,
       CASE WHEN later.rows < 10000
            THEN least(later.id,
                       (SELECT min(f.id) FROM pg_snapshot_xip(l.s1) AS x(xid) CROSS JOIN LATERAL (
                               SELECT id FROM outbox WHERE lane = l.lane AND xid = x.xid OFFSET 0) AS f))
       END AS id
  FROM (SELECT lane, s1::pg_snapshot AS s1, pg_snapshot_xmax(s1::pg_snapshot) AS xmax
          FROM unnest($1::smallint[], $2::text[]) AS g(lane, s1) OFFSET 0) AS l
 CROSS JOIN LATERAL (
       SELECT min(id) AS id, count(*) AS rows
         FROM (SELECT id FROM outbox WHERE lane = l.lane AND xid >= l.xmax LIMIT 10000) AS of) AS later
