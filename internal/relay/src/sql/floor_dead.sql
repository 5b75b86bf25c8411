-- How many entries of the index stand before the first row of each lane: rows that are deleted, and that
-- somebody might still see. Counted by this backend while it steps over them. least(): first the count before.
WITH before AS MATERIALIZED (
  SELECT coalesce(pg_stat_get_xact_tuples_returned('outbox_pkey'::regclass), 0) AS entries
), heads AS MATERIALIZED (
  SELECT count(*) AS rows
    FROM before AS b CROSS JOIN unnest($1::smallint[]) AS l(lane) CROSS JOIN LATERAL (
         SELECT id FROM outbox WHERE lane = l.lane AND id >= least(b.entries, 0) ORDER BY id LIMIT 1) AS o
)
SELECT pg_stat_get_xact_tuples_returned('outbox_pkey'::regclass) - b.entries - h.rows AS "dead!"
  FROM before AS b CROSS JOIN heads AS h
