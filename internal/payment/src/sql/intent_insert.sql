INSERT INTO card_intent (payment_id, kind, direction, step_key, saga_id, step)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::uuid[], $6::text[])
