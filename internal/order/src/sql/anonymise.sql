-- The next orders of a user who was deleted. One that is under way keeps its address: its saga may have to be
-- started again with it. One that is locked just now is being decided or cancelled: a later look finds it.
WITH page AS MATERIALIZED (
  SELECT id, status IN ('confirmed', 'rejected', 'cancelled') AS is_over,
         address_name <> 'deleted' OR street <> 'deleted' OR postal_code <> 'deleted'
           OR coalesce(card_token <> 'deleted', false) AS names_him
    FROM orders WHERE user_id = $1 AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3
), known AS MATERIALIZED (
  SELECT id FROM orders
   WHERE id = ANY (ARRAY(SELECT id FROM page WHERE is_over AND names_him))
     AND status IN ('confirmed', 'rejected', 'cancelled') -- of the row as it is when it is locked
   ORDER BY id FOR UPDATE SKIP LOCKED
), anonymised AS (
  UPDATE orders
     SET address_name = 'deleted', street = 'deleted', postal_code = 'deleted',
         -- a card has a token, by a CHECK
         card_token = CASE WHEN card_token IS NOT NULL THEN 'deleted' END
   WHERE id = ANY (ARRAY(SELECT id FROM known))
  RETURNING 1
)
SELECT (SELECT count(*) FROM page) AS "seen!",
       (SELECT count(*) FROM page WHERE names_him) AS "named_him!",
       (SELECT count(*) FROM anonymised) AS "anonymised!",
       (SELECT id FROM page ORDER BY id DESC LIMIT 1) AS "last?"
