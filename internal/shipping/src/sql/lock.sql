SELECT id, order_id, state, recalled_by FROM shipment WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE
