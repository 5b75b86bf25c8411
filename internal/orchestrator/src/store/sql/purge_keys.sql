DELETE FROM saga_key WHERE id IN (
  SELECT k.id FROM saga_key k
   WHERE k.id < (SELECT uuid_at(now() - r.keep) FROM retention r WHERE r.parent = 'saga_history')
     AND NOT EXISTS (SELECT FROM saga s WHERE s.id = k.id OFFSET 0) -- one with an open case
   ORDER BY k.id LIMIT $1 FOR UPDATE SKIP LOCKED)
