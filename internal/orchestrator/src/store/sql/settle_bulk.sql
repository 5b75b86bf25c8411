-- What came of a slice. The next one is due when the rate allows: a second is made up for at most.
WITH settled AS (
  UPDATE bulk_item i SET outcome = n.outcome, rule = n.rule, words = n.words
    FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[]) AS n(saga_id, outcome, rule, words)
   WHERE i.bulk_id = $1 AND i.saga_id = n.saga_id AND i.outcome IS NULL -- once
  RETURNING i.outcome
), counted AS (
  SELECT count(*) AS looked,
         count(*) FILTER (WHERE outcome = 'done') AS done,
         count(*) FILTER (WHERE outcome = 'refused') AS refused,
         count(*) FILTER (WHERE outcome = 'moved') AS moved,
         count(*) FILTER (WHERE outcome = 'failed') AS failed
    FROM settled
), after AS (
  SELECT b.id, b.done + b.refused + b.moved + b.failed + c.looked >= b.size AS is_done
    FROM bulk b, counted c WHERE b.id = $1
)
UPDATE bulk b
   SET done = b.done + c.done, refused = b.refused + c.refused,
       moved = b.moved + c.moved, failed = b.failed + c.failed,
       state = CASE WHEN a.is_done THEN 'done' ELSE b.state END,
       ended_at = CASE WHEN a.is_done THEN now() END,
       next_at = CASE WHEN a.is_done THEN NULL
                      ELSE greatest(b.next_at, now() - interval '1 s')
                           + c.looked * interval '1 s' / b.rate END
  FROM counted c, after a
 WHERE b.id = a.id
