-- The rows stay where they are: the cursor passes them.
INSERT INTO outbox_parked (id, lane, topic, event_id, created_at, key, traceparent, tracestate, baggage,
                           headers, payload, error, behind)
SELECT o.id, o.lane, o.topic, o.event_id, o.created_at, o.key, o.traceparent, o.tracestate, o.baggage,
       o.headers, o.payload, r.error, r.behind
  FROM unnest($1::smallint[], $2::bigint[], $3::text[], $4::bool[]) AS r(lane, id, error, behind)
  JOIN outbox o ON o.lane = r.lane AND o.id = r.id
    ON CONFLICT DO NOTHING
