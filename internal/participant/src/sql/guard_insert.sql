-- The rows of a batch that are new, as they will most likely be in the end, in the order of the arrays:
-- key order, or two batches wait for each other. Which were made is told only if not all were.
WITH made AS (
  INSERT INTO saga_guard (saga_id, step, act, act_hash, act_result, comp, pending_until)
  SELECT saga_id, step, act, act_hash, act_result, 'none', pending_until
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::bytea[], $6::timestamptz[])
      AS n(saga_id, step, act, act_hash, act_result, pending_until)
      ON CONFLICT DO NOTHING
  RETURNING saga_id, step
)
SELECT (SELECT greatest(oldest, now() - keep) FROM retention WHERE parent = 'saga_guard') AS "oldest!",
       CASE WHEN count(*) < cardinality($1) THEN array_agg(saga_id) END AS sagas,
       CASE WHEN count(*) < cardinality($1) THEN array_agg(step) END AS steps,
       count(*) AS "count!"
  FROM made
