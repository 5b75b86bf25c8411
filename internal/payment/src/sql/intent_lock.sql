-- The intents of calls that were answered, and their payments, as a batch of commands locks payments. A refund
-- that was declined is asked for again under the same key, and is another one: an old answer is none to it.
SELECT i.call_key, p.id, p.order_id, p.saga_id, p.user_id, p.amount_minor, p.currency, p.state, p.reason,
       p.card_token, p.charge_key, p.refunded_minor, p.refunding_minor, p.created_at
  FROM unnest($1::uuid[], $2::uuid[]) AS n(call_key, refund_id)
  JOIN card_intent i ON i.call_key = n.call_key AND i.refund_id IS NOT DISTINCT FROM n.refund_id
  JOIN payment p ON p.id = i.payment_id
 ORDER BY p.order_id, i.call_key
   FOR UPDATE OF i, p
