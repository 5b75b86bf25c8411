-- The rows of compensations whose action was done, as they will most likely be in the end, in the order of
-- the arrays: key order, or two batches wait for each other. What stands otherwise is left to be locked.
UPDATE saga_guard g
   SET comp = 'done', comp_result = $3, updated_at = now()
  FROM unnest($1::uuid[], $2::text[]) AS n(saga_id, step)
 WHERE g.saga_id = n.saga_id AND g.step = n.step AND g.saga_id BETWEEN $4 AND $5
   AND g.act = 'done' AND g.comp = 'none'
RETURNING g.saga_id, g.step, g.act_hash, g.act_result, g.pending_until,
          (SELECT greatest(oldest, now() - keep) FROM retention WHERE parent = 'saga_guard') AS "oldest!"
