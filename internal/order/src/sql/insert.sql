-- Lines of all orders stand in one array, each order's own from first to last.
INSERT INTO orders (id, user_id, saga_id, status, total_minor, currency, address_name, street, postal_code,
                    city, country, method, card_token, created_at, updated_at, traceparent,
                    skus, names, quantities, prices_minor)
SELECT n.id, n.user_id, n.saga_id, 'pending', n.total_minor, n.currency, n.address_name, n.street,
       n.postal_code, n.city, n.country, n.method, n.card_token, $13, $13, n.traceparent,
       ($16::text[])[n.first:n.last], ($17::text[])[n.first:n.last], ($18::int[])[n.first:n.last],
       ($19::bigint[])[n.first:n.last]
  FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::bigint[], $5::text[], $6::text[], $7::text[],
              $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $14::text[], $15::int[],
              $20::int[])
    AS n(id, user_id, saga_id, total_minor, currency, address_name, street, postal_code, city, country,
         method, card_token, traceparent, first, last)
