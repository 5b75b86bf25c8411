-- As purge_heads.sql: where a while ago begins is known before the first row is looked at.
WITH ended AS (
  DELETE FROM saga WHERE id IN (
    SELECT s.id FROM saga s
     WHERE s.id < (SELECT uuid_at(now() - a.after) FROM archiving a)
       AND s.progress_at < (SELECT now() - a.after FROM archiving a)
       AND (s.state IN ('completed', 'compensated')
            OR (s.state = 'needs-attention' AND s.closed IS NOT NULL))
       AND NOT EXISTS (SELECT FROM saga_late l -- an open case
                        WHERE l.saga_id = s.id AND l.note = 'contradiction'
                          AND l.acknowledged_at IS NULL
                          AND l.at > now() - interval '7 days' OFFSET 0)
     ORDER BY s.id LIMIT $1 FOR UPDATE OF s SKIP LOCKED)
  RETURNING *)
INSERT INTO saga_archive (saga_id, plan_id, plan_name, business_key, version, state, body, closed,
                          progress_at, started_at, traceparent)
SELECT id, plan_id, plan_name, business_key, version, state, body, closed, progress_at, started_at,
       traceparent
  FROM ended
