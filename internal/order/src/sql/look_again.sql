UPDATE deleted_user
   SET looked_to = NULL, left_some = false,
       next_look_at = CASE
         WHEN deleted_at < now() - make_interval(secs => $3) AND NOT (left_some OR $2) THEN NULL
         ELSE now() + least(greatest(now() - deleted_at, interval '1 second'), make_interval(secs => $4))
       END
 WHERE user_id = $1
