DELETE FROM saga_late WHERE id IN (
  SELECT l.id FROM saga_late l
   WHERE l.at < (SELECT now() - r.keep FROM retention r WHERE r.parent = 'saga_history')
   ORDER BY l.id LIMIT $1 FOR UPDATE SKIP LOCKED)
