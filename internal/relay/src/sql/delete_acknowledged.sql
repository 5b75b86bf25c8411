-- Each row by the primary key, whatever the planner believes of the table: LIMIT keeps it from reading
-- the table first and looking for the rows in the list.
DELETE FROM outbox WHERE ctid = ANY (ARRAY(
  SELECT o.ctid FROM unnest($1::smallint[], $2::bigint[]) AS a(lane, id)
   CROSS JOIN LATERAL (SELECT ctid FROM outbox WHERE lane = a.lane AND id = a.id LIMIT 1) AS o))
