-- Who may have drawn a number that nobody sees yet: an INSERT has this lock before it draws, and to the end
-- of its transaction.
SELECT coalesce(array_agg(DISTINCT virtualtransaction), '{}') AS "writers!"
  FROM pg_locks
 WHERE locktype = 'relation' AND relation = 'outbox'::regclass AND granted
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
   AND pid IS DISTINCT FROM pg_backend_pid()
