-- What a batch comes to: one sum for each wallet, new payments, payments that have moved on from the state
-- that they are expected to be in, the entries of the ledger, new refunds, and refunds that are over.
WITH summed AS (
  UPDATE wallet w SET balance_minor = w.balance_minor + d.delta
    FROM unnest($1::text[], $2::bigint[]) AS d(user_id, delta)
   WHERE w.user_id = d.user_id AND w.balance_minor + d.delta >= 0
  RETURNING 1
), made AS (
  INSERT INTO payment (id, order_id, saga_id, user_id, method, amount_minor, currency, state, reason,
                       card_token, charge_key, refunded_minor, refunding_minor)
  SELECT * FROM unnest($3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::bigint[],
                       $9::text[], $10::text[], $11::text[], $12::text[], $13::uuid[], $38::bigint[], $39::bigint[])
), moved AS (
  UPDATE payment p
     SET state = n.state, reason = n.reason, updated_at = now(), refunded_minor = n.refunded,
         refunding_minor = n.refunding,
         processor_reference = coalesce(n.reference, p.processor_reference)
    FROM unnest($14::uuid[], $15::text[], $16::text[], $17::text[], $18::text[], $26::bigint[],
                $27::bigint[])
      AS n(id, expected, state, reason, reference, refunded, refunding)
   WHERE p.id = n.id AND p.state = n.expected
  RETURNING 1
), booked AS (
  INSERT INTO ledger_entry (id, transfer_id, kind, payment_id, account, amount_minor, currency,
                            refund_id)
  SELECT * FROM unnest($19::uuid[], $20::uuid[], $21::text[], $22::uuid[], $23::text[], $24::bigint[],
                       $25::text[], $28::uuid[])
), given AS (
  INSERT INTO refund (id, payment_id, amount_minor, reason, state, requested_by)
  SELECT * FROM unnest($29::uuid[], $30::uuid[], $31::bigint[], $32::text[], $33::text[], $34::text[])
), ended AS (
  UPDATE refund r SET state = n.state, updated_at = now()
    FROM unnest($35::uuid[], $36::uuid[], $37::text[]) AS n(payment_id, id, state)
   WHERE r.payment_id = n.payment_id AND r.id = n.id AND r.state = 'pending'
  RETURNING 1
)
SELECT (SELECT count(*) FROM summed) AS "summed!", (SELECT count(*) FROM moved) AS "moved!",
       (SELECT count(*) FROM ended) AS "ended!"
