-- Heads under the version that they had, with their rows of history; those that won are told. The
-- version is the fence: a stale writer changes nothing.
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
   WHERE (h.id IN (SELECT moved.id FROM moved)) IS TRUE -- no join: looked up in a hash, in any plan
)
SELECT id FROM moved
