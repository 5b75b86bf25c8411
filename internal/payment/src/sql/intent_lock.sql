-- The intents of calls that were answered, and their payments, as a batch of commands locks payments.
SELECT i.kind, p.id, p.order_id, p.saga_id, p.user_id, p.amount_minor, p.currency, p.state, p.reason,
       p.card_token, p.charge_key, p.created_at
  FROM unnest($1::uuid[], $2::text[]) AS n(payment_id, kind)
  JOIN card_intent i ON i.payment_id = n.payment_id AND i.kind = n.kind
  JOIN payment p ON p.id = i.payment_id
 ORDER BY p.order_id, i.kind
   FOR UPDATE OF i, p
