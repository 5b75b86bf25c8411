-- ORDER BY: identity numbers are drawn in slice order
INSERT INTO outbox (lane, topic, event_id, key, traceparent, tracestate, baggage, headers, payload)
SELECT r.lane, r.topic, r.event_id, r.key, r.traceparent, r.tracestate, r.baggage, r.headers, r.payload
  FROM unnest($1::smallint[], $2::smallint[], $3::uuid[], $4::bytea[], $5::text[], $6::text[], $7::text[],
              $8::bytea[], $9::bytea[])
       WITH ORDINALITY AS r(lane, topic, event_id, key, traceparent, tracestate, baggage, headers, payload, ord)
 ORDER BY r.ord
