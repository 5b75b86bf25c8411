-- Heads under the version that they had, with their rows of history and what they send: all of it, or
-- nothing. The version is the fence: who is stale changes nothing, and draws no number that counts.
WITH moved AS (
  UPDATE saga s
     SET plan_id = n.plan_id, version = n.version, state = n.state, body = n.body,
         waits_for = n.waits_for, waits_step = n.waits_step, wait_until = n.wait_until,
         wake_at = n.wake_at, owed_since = n.owed_since, held_by = n.held_by, closed = n.closed,
         progress_at = CASE WHEN n.progressed THEN now() ELSE s.progress_at END
    FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::bytea[], $6::text[],
                $7::text[], $8::timestamptz[], $9::timestamptz[], $10::bool[], $11::int[],
                $12::timestamptz[], $13::text[], $14::text[])
      AS n(id, expected, version, state, body, waits_for, waits_step, wait_until, wake_at,
           progressed, plan_id, owed_since, held_by, closed)
   WHERE s.id = n.id AND s.version = n.expected
  RETURNING s.id
), told AS (
  INSERT INTO saga_history (saga_id, version, at, kind, body, payloads)
  SELECT h.id, h.version, now(), h.kind, h.body, h.payloads
    FROM unnest($15::uuid[], $16::bigint[], $17::smallint[], $18::bytea[], $19::bytea[])
      AS h(id, version, kind, body, payloads)
), sent AS (
  INSERT INTO outbox (lane, topic, event_id, key, traceparent, tracestate, baggage, headers, payload)
  SELECT r.lane, r.topic, r.event_id, r.key, r.traceparent, r.tracestate, r.baggage, r.headers, r.payload
    FROM unnest($20::smallint[], $21::smallint[], $22::uuid[], $23::bytea[], $24::text[], $25::text[],
                $26::text[], $27::bytea[], $28::bytea[])
         WITH ORDINALITY AS r(lane, topic, event_id, key, traceparent, tracestate, baggage, headers, payload, ord)
   ORDER BY r.ord -- identity numbers are drawn in slice order
)
SELECT CASE WHEN count(*) < cardinality($1) THEN saga_contended() END AS "all_moved" FROM moved
