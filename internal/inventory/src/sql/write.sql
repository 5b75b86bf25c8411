-- What a batch comes to: one sum for each SKU, the reservations it made, and those it has moved on. The
-- conditions repeat what was decided in memory. Lines of all reservations stand in one array, each
-- reservation's own from first to last.
WITH summed AS (
  UPDATE stock s
     SET on_hand = s.on_hand + d.on_hand, held = s.held + d.held, sold = s.sold + d.sold,
         waiting = s.waiting + d.waiting
    FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
      AS d(sku, on_hand, held, sold, waiting)
   WHERE s.sku = d.sku AND s.held + d.held BETWEEN 0 AND s.on_hand + d.on_hand AND s.sold + d.sold >= 0
  RETURNING 1
), made AS (
  INSERT INTO reservation (id, order_id, saga_id, state, skus, quantities)
  SELECT n.id, n.order_id, n.saga_id, n.state, ($12::text[])[n.first:n.last], ($13::bigint[])[n.first:n.last]
    FROM unnest($6::uuid[], $7::uuid[], $8::uuid[], $9::text[], $10::int[], $11::int[])
      AS n(id, order_id, saga_id, state, first, last)
), moved AS (
  UPDATE reservation r SET state = n.state, updated_at = now()
    FROM unnest($14::uuid[], $15::text[], $16::text[]) AS n(id, state, expected)
   WHERE r.id = n.id AND r.state = n.expected
  RETURNING 1
)
SELECT (SELECT count(*) FROM summed) AS "summed!", (SELECT count(*) FROM moved) AS "moved!"
