INSERT INTO saga_guard (saga_id, step, act, act_result, comp)
SELECT saga_id, $2, 'done', $3, 'none' FROM unnest($1::uuid[]) AS n(saga_id)
