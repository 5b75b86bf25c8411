-- The sagas that a filter finds, each with the version that it has now.
INSERT INTO bulk_item (bulk_id, saga_id, version)
SELECT $1, s.id, s.version
  FROM saga s
  JOIN plan p ON p.id = s.plan_id
  LEFT JOIN (SELECT DISTINCT key FROM outbox_parked) k ON k.key = convert_to(s.id::text, 'UTF8')
  CROSS JOIN LATERAL (SELECT saga_stuck(s.state, s.waits_for, s.wake_at, s.wait_until, s.progress_at,
                                        p.patience, k.key IS NOT NULL) AS why) stuck
 WHERE s.state IN ('running', 'compensating', 'needs-attention') -- its partial index
   AND s.closed IS NULL
   AND s.state = ANY($2)
   AND ($3::text IS NULL OR s.plan_name = $3)
   AND ($4::int IS NULL OR p.version = $4)
   AND ($5::text IS NULL OR stuck.why = $5 OR ($5 = 'any' AND stuck.why IS NOT NULL))
   AND ($6::text IS NULL OR s.waits_step = $6)
   AND ($7::int[] IS NULL OR EXISTS (
          SELECT FROM unnest($7::int[], $8::text[]) AS w(plan_id, step)
           WHERE w.plan_id = s.plan_id AND w.step = s.waits_step))
   AND (NOT $9::bool OR s.waits_for = 'hold')
   AND ($10::bigint IS NULL OR s.started_at <= now() - $10 * interval '1 s')
   AND ($11::text IS NULL OR starts_with(s.business_key, $11))
 ORDER BY s.id LIMIT $12
