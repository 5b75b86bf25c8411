-- What sagas have to build commands from, oldest first. Lateral, so that days are pruned row by row.
SELECT h.saga_id AS "saga_id!", h.payloads AS "payloads!"
  FROM unnest($1::uuid[]) AS n(id)
 CROSS JOIN LATERAL (
         SELECT saga_id, version, payloads FROM saga_history
          WHERE saga_id = n.id AND payloads IS NOT NULL
          ORDER BY version OFFSET 0) AS h
 ORDER BY h.saga_id, h.version
