-- Fenced, unlike the deletes of queue mode: a woken zombie would move the cursor of the new owner and
-- lose rows. A lane that does not come back is lost.
UPDATE outbox_lane l SET s1 = a.s1::pg_snapshot, s2 = a.s2::pg_snapshot, last_id = a.last_id
  FROM unnest($2::smallint[], $3::bigint[], $4::text[], $5::text[], $6::bigint[])
       AS a(lane, epoch, s1, s2, last_id)
 WHERE l.lane = a.lane AND l.epoch = a.epoch AND l.owner = $1
RETURNING l.lane
