-- The rows that are there, locked in key order; BETWEEN prunes the other days.
SELECT g.saga_id, g.step, g.act, g.act_hash, g.act_result, g.comp, g.comp_result, g.pending_until,
       (SELECT greatest(oldest, now() - keep) FROM retention WHERE parent = 'saga_guard') AS "oldest!"
  FROM unnest($1::uuid[], $2::text[]) AS k(saga_id, step)
  JOIN saga_guard g ON g.saga_id = k.saga_id AND g.step = k.step
 WHERE g.saga_id BETWEEN $3 AND $4
 ORDER BY g.saga_id, g.step
   FOR UPDATE OF g
