-- Whether one of these writers is still there. Who was prepared for a two-phase commit has another name
-- since, -1/…: any of them may be one of these.
SELECT EXISTS (SELECT FROM pg_locks
                WHERE locktype = 'relation' AND relation = 'outbox'::regclass AND granted
                  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                  AND (virtualtransaction = ANY($1) OR virtualtransaction LIKE '-1/%')) AS "found!"
