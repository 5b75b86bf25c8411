-- Items of all shipments stand in one array, each shipment's own from first to last.
INSERT INTO shipment (id, order_id, user_id, saga_id, state, carrier, name, street, postal_code, city, country,
                      skus, quantities)
SELECT n.id, n.order_id, n.user_id, n.saga_id, n.state, n.carrier, n.name, n.street, n.postal_code, n.city, n.country,
       ($14::text[])[n.first:n.last], ($15::int[])[n.first:n.last]
  FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::text[],
              $8::text[], $9::text[], $10::text[], $11::text[], $12::int[], $13::int[])
    AS n(id, order_id, user_id, saga_id, state, carrier, name, street, postal_code, city, country, first, last)
