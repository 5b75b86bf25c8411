-- Locks the reservations of orders, then the stock of what they hold and of what is asked for, each in
-- key order: the array is complete, and every reservation locked, before the first row of stock is.
WITH reserved AS MATERIALIZED (
  SELECT id, order_id, saga_id, state, created_at, skus, quantities
    FROM reservation WHERE order_id = ANY($1::uuid[]) ORDER BY order_id FOR UPDATE
), level AS MATERIALIZED (
  SELECT sku, on_hand, held, waiting FROM stock
   WHERE sku = ANY ($2::text[] || ARRAY(SELECT unnest(skus) FROM reserved)) ORDER BY sku FOR UPDATE
)
SELECT id AS "id?", order_id AS "order_id?", saga_id AS "saga_id?", state AS "state?",
       created_at AS "created_at?", skus AS "skus?", quantities AS "quantities?",
       NULL::text AS "sku?", NULL::bigint AS "on_hand?", NULL::bigint AS "held?", NULL::bigint AS "waiting?"
  FROM reserved
 UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, sku, on_hand, held, waiting FROM level
