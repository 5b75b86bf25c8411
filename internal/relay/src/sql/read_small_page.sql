-- One statement is one snapshot, from the head of every lane, as in read_page.sql.
SELECT lane AS "lane!", id AS "id!", topic AS "topic!", event_id AS "event_id!",
       created_at AS "created_at!", key AS "key!", traceparent AS "traceparent?",
       tracestate AS "tracestate?", baggage AS "baggage?", headers AS "headers!",
       payload AS "payload!"
  FROM outbox WHERE lane <> ALL($1::smallint[]) ORDER BY lane, id LIMIT $2
