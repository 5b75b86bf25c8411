-- Sagas whose timer is due, some of each lane, oldest first: no single queue head.
SELECT d.id AS "id!"
  FROM unnest($1::smallint[]) AS l(lane)
 CROSS JOIN LATERAL (
         SELECT id FROM saga
          WHERE lane = l.lane AND wake_at <= now() -- now(), not clock_timestamp(): indexable
          ORDER BY wake_at LIMIT $2) AS d
