DELETE FROM card_intent WHERE call_key = ANY($1::uuid[])
