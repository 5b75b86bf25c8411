DELETE FROM card_intent i USING unnest($1::uuid[], $2::text[]) AS n(payment_id, kind)
 WHERE i.payment_id = n.payment_id AND i.kind = n.kind
