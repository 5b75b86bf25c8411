-- Heads, locked in id order, or two batches would deadlock.
SELECT id, plan_id, business_key, version, body, wake_at, held_by, started_at, traceparent,
       tracestate, baggage
  FROM saga
 WHERE id = ANY($1)
 ORDER BY id FOR UPDATE
