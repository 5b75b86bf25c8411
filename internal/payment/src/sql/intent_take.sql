-- Leases intents that are due, oldest first; two takers share the work instead of waiting.
WITH due AS (
  SELECT call_key, payment_id FROM card_intent
   WHERE next_try_at <= now()
   ORDER BY next_try_at LIMIT $1
   FOR UPDATE SKIP LOCKED
)
UPDATE card_intent i
   SET next_try_at = now() + make_interval(secs => $2), attempts = i.attempts + 1
  FROM due JOIN payment p ON p.id = due.payment_id
 WHERE i.call_key = due.call_key
RETURNING i.kind, i.call_key, i.refund_id, i.refund_minor, i.direction, i.saga_id AS intent_saga_id,
          i.step, i.traceparent, i.attempts,
          i.created_at < now() - make_interval(secs => $3) AS "is_old!",
          p.id, p.order_id, p.saga_id, p.user_id, p.amount_minor, p.currency, p.state,
          p.reason, p.card_token, p.charge_key, p.refunded_minor, p.refunding_minor, p.created_at
