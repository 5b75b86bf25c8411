-- One statement is one snapshot. Each lane from its head, never after the last id: a row that commits
-- late has a small id. $3: the floor, below which nothing is and nothing will come (floor.rs); without it a
-- page steps over the dead, which nobody can remove while a transaction is open somewhere.
SELECT o.lane AS "lane!", o.id AS "id!", o.topic AS "topic!", o.event_id AS "event_id!",
       o.created_at AS "created_at!", o.key AS "key!", o.traceparent AS "traceparent?",
       o.tracestate AS "tracestate?", o.baggage AS "baggage?", o.headers AS "headers!",
       o.payload AS "payload!"
  FROM unnest($1::smallint[]) AS l(lane) CROSS JOIN LATERAL (
       SELECT * FROM outbox WHERE lane = l.lane AND id >= $3 ORDER BY id LIMIT $2) AS o
