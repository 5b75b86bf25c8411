-- The lowest id of all lanes between the old floor and the new one.
SELECT min(o.id) AS lowest
  FROM unnest($1::smallint[]) AS l(lane) CROSS JOIN LATERAL (
       SELECT id FROM outbox WHERE lane = l.lane AND id BETWEEN $2 AND $3 ORDER BY id LIMIT 1) AS o
