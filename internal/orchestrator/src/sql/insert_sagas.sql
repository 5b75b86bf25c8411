-- New sagas, whole, each with its first rows of history; those that are new are told. A second id
-- for one business key, or a second start of one id, loses. The key outlives the head.
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
)
INSERT INTO saga (id, lane, plan_id, plan_name, business_key, version, state, body, waits_for,
                  waits_step, wait_until, wake_at, owed_since, held_by, traceparent, tracestate,
                  baggage)
SELECT n.id, n.lane, n.plan_id, n.plan_name, n.business_key, n.version, n.state, n.body,
       n.waits_for, n.waits_step, n.wait_until, n.wake_at, n.owed_since, n.held_by, n.traceparent,
       n.tracestate, n.baggage
  FROM n
 WHERE (n.id IN (SELECT won.id FROM won)) IS TRUE
RETURNING id
