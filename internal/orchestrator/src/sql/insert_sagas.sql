-- New sagas, whole, each with its first rows of history and what it sends; those that are new are told.
-- A second id for one business key, or a second start of one id, loses; $33: then nothing is done at all.
-- The key outlives the head.
WITH n AS (
  SELECT *
    FROM unnest($1::uuid[], $2::smallint[], $3::int[], $4::text[], $5::text[], $6::bigint[],
                $7::text[], $8::bytea[], $9::text[], $10::text[], $11::timestamptz[],
                $12::timestamptz[], $13::timestamptz[], $14::text[], $15::text[], $16::text[],
                $17::text[])
      AS n(id, lane, plan_id, plan_name, business_key, version, state, body, waits_for, waits_step,
           wait_until, wake_at, owed_since, held_by, traceparent, tracestate, baggage)
), won AS (
  INSERT INTO saga_key (plan_name, business_key, id)
  SELECT n.plan_name, n.business_key, n.id
    FROM n
   ORDER BY n.plan_name, n.business_key -- one order of locks for all batches
      ON CONFLICT DO NOTHING
  RETURNING id
), told AS (
  INSERT INTO saga_history (saga_id, version, at, kind, body, payloads)
  SELECT h.id, h.version, now(), h.kind, h.body, h.payloads
    FROM unnest($18::uuid[], $19::bigint[], $20::smallint[], $21::bytea[], $22::bytea[])
      AS h(id, version, kind, body, payloads)
   WHERE (h.id IN (SELECT won.id FROM won)) IS TRUE -- no join: looked up in a hash, in any plan
), sent AS (
  INSERT INTO outbox (lane, topic, event_id, key, traceparent, tracestate, baggage, headers, payload)
  SELECT r.lane, r.topic, r.event_id, r.key, r.traceparent, r.tracestate, r.baggage, r.headers, r.payload
    FROM unnest($23::smallint[], $24::smallint[], $25::uuid[], $26::bytea[], $27::text[], $28::text[],
                $29::text[], $30::bytea[], $31::bytea[], $32::uuid[])
         WITH ORDINALITY AS r(lane, topic, event_id, key, traceparent, tracestate, baggage, headers, payload,
                              saga_id, ord)
   WHERE (r.saga_id IN (SELECT won.id FROM won)) IS TRUE
   ORDER BY r.ord -- identity numbers are drawn in slice order
), fresh AS (
  INSERT INTO saga (id, lane, plan_id, plan_name, business_key, version, state, body, waits_for,
                    waits_step, wait_until, wake_at, owed_since, held_by, traceparent, tracestate,
                    baggage)
  SELECT n.id, n.lane, n.plan_id, n.plan_name, n.business_key, n.version, n.state, n.body,
         n.waits_for, n.waits_step, n.wait_until, n.wake_at, n.owed_since, n.held_by, n.traceparent,
         n.tracestate, n.baggage
    FROM n
   WHERE (n.id IN (SELECT won.id FROM won)) IS TRUE
  RETURNING id
)
SELECT CASE WHEN $33::bool AND count(*) < cardinality($1) THEN saga_contended()
            ELSE coalesce(array_agg(id), '{}') END AS "won!"
  FROM fresh
