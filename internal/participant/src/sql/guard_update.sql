UPDATE saga_guard g
   SET act = n.act, act_hash = n.act_hash, act_result = n.act_result, comp = n.comp,
       comp_result = n.comp_result, pending_until = n.pending_until, updated_at = now()
  FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::bytea[], $6::text[], $7::bytea[],
              $8::timestamptz[])
    AS n(saga_id, step, act, act_hash, act_result, comp, comp_result, pending_until)
 WHERE g.saga_id = n.saga_id AND g.step = n.step AND g.saga_id BETWEEN $9 AND $10
