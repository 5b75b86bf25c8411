-- What is older than anything that is kept. Where old begins is known before the first row is looked at, and
-- each saga is looked up (OFFSET 0: no join), so that a table without old rows costs nothing.
DELETE FROM saga WHERE id IN (
  SELECT s.id FROM saga s
   WHERE s.id < (SELECT uuid_at(now() - r.keep) FROM retention r WHERE r.parent = 'saga_history')
     AND (s.state IN ('completed', 'compensated')
          OR (s.state = 'needs-attention' AND s.closed IS NOT NULL))
     AND NOT EXISTS (SELECT FROM saga_late l -- an open case
                      WHERE l.saga_id = s.id AND l.note = 'contradiction'
                        AND l.acknowledged_at IS NULL
                        AND l.at > now() - interval '7 days' OFFSET 0)
   ORDER BY s.id LIMIT $1 FOR UPDATE OF s SKIP LOCKED)
