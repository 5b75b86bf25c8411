-- Heads of due sagas, locked in id order; what another batch holds is left to it.
SELECT id, plan_id, business_key, version, body, wake_at, held_by, started_at, traceparent,
       tracestate, baggage
  FROM saga
 WHERE id = ANY($1) AND wake_at <= now()
 ORDER BY id FOR UPDATE SKIP LOCKED
