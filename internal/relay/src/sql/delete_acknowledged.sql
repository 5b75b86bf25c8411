DELETE FROM outbox o USING unnest($1::smallint[], $2::bigint[]) AS a(lane, id)
 WHERE o.lane = a.lane AND o.id = a.id
