INSERT INTO card_intent (call_key, payment_id, kind, refund_id, refund_minor, direction, saga_id, step, traceparent)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::bigint[], $6::text[], $7::uuid[],
                     $8::text[], $9::text[])
