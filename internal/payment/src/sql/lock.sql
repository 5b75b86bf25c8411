-- Locks the payments of orders, then the wallets that paid them and those that are to pay, each in key
-- order: the array is complete, and every payment locked, before the first wallet is.
WITH paid AS MATERIALIZED (
  SELECT id, order_id, saga_id, user_id, amount_minor, currency, state, reason, card_token, charge_key,
         refunded_minor, refunding_minor, created_at
    FROM payment WHERE order_id = ANY($1::uuid[]) ORDER BY order_id FOR UPDATE
), purse AS MATERIALIZED (
  SELECT user_id, balance_minor, currency, closed_at IS NOT NULL AS is_closed FROM wallet
   WHERE user_id = ANY ($2::text[] || ARRAY(SELECT user_id FROM paid WHERE card_token IS NULL))
   ORDER BY user_id FOR UPDATE
)
SELECT id AS "id?", order_id AS "order_id?", saga_id AS "saga_id?", user_id AS "user_id!",
       amount_minor AS "minor!", currency AS "currency!", state AS "state?", reason AS "reason?",
       card_token AS "card_token?", charge_key AS "charge_key?", refunded_minor AS "refunded_minor?",
       refunding_minor AS "refunding_minor?", created_at AS "created_at?",
       NULL::boolean AS "is_closed?"
  FROM paid
 UNION ALL
SELECT NULL, NULL, NULL, user_id, balance_minor, currency, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
       is_closed
  FROM purse
