-- The carriers of countries, and the shipments that orders have already.
SELECT country AS "country?", name AS "name?", version AS "version?",
       NULL::uuid AS "id?", NULL::uuid AS "order_id?", NULL::uuid AS "saga_id?"
  FROM carrier WHERE country = ANY($1::text[])
 UNION ALL
SELECT NULL, NULL, NULL, id, order_id, saga_id FROM shipment WHERE order_id = ANY($2::uuid[])
