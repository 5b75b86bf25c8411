-- What a batch comes to: one sum for each wallet, new payments, payments that have moved on from the state
-- that they are expected to be in, and the entries of the ledger.
WITH summed AS (
  UPDATE wallet w SET balance_minor = w.balance_minor + d.delta
    FROM unnest($1::text[], $2::bigint[]) AS d(user_id, delta)
   WHERE w.user_id = d.user_id AND w.balance_minor + d.delta >= 0
  RETURNING 1
), made AS (
  INSERT INTO payment (id, order_id, saga_id, user_id, method, amount_minor, currency, state, reason,
                       card_token, charge_key)
  SELECT * FROM unnest($3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::bigint[],
                       $9::text[], $10::text[], $11::text[], $12::text[], $13::uuid[])
), moved AS (
  UPDATE payment p
     SET state = n.state, reason = n.reason, updated_at = now(),
         processor_reference = coalesce(n.reference, p.processor_reference)
    FROM unnest($14::uuid[], $15::text[], $16::text[], $17::text[], $18::text[])
      AS n(id, expected, state, reason, reference)
   WHERE p.id = n.id AND p.state = n.expected
  RETURNING 1
), booked AS (
  INSERT INTO ledger_entry (id, transfer_id, kind, payment_id, account, amount_minor, currency)
  SELECT * FROM unnest($19::uuid[], $20::uuid[], $21::text[], $22::uuid[], $23::text[], $24::bigint[],
                       $25::text[])
)
SELECT (SELECT count(*) FROM summed) AS "summed!", (SELECT count(*) FROM moved) AS "moved!"
