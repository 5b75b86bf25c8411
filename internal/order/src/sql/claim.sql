-- Claims the keys of a batch, in the order of the arrays: key order, or two batches wait for each other; a
-- claim that another transaction has not committed yet is waited for. And what can be ordered.
WITH claimed AS (
  INSERT INTO idempotency_key (user_id, key, fingerprint, made_id)
  SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::uuid[])
      ON CONFLICT DO NOTHING
  RETURNING made_id
)
SELECT made_id AS "claimed?", NULL::text AS "sku?", NULL::text AS "name?", NULL::bigint AS "price_minor?",
       NULL::text AS "currency?"
  FROM claimed
 UNION ALL
SELECT NULL, sku, name, price_minor, currency FROM product WHERE sku = ANY($5::text[]) AND NOT deleted
