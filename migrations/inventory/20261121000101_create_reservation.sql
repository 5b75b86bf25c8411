-- Stock held for an order.
CREATE TABLE reservation (
  id         uuid        PRIMARY KEY,
  order_id   uuid        NOT NULL UNIQUE,
  saga_id    uuid        NOT NULL,
  state      text        NOT NULL CHECK (state IN ('held', 'released', 'committed', 'restocked')),
  skus       text[]      NOT NULL, -- in stock, whose rows are never deleted: no check for each line of a hot path
  quantities bigint[]    NOT NULL CHECK (0 < ALL (quantities)),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CHECK (cardinality(skus) > 0 AND cardinality(skus) = cardinality(quantities))
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.1, autovacuum_analyze_scale_factor = 0.5, autovacuum_analyze_threshold = 20000); -- each row is updated once, soon
COMMENT ON TABLE  reservation IS 'A hold on stock; a semantic lock that its saga ends by commit or release, never a timer';
COMMENT ON COLUMN reservation.id IS 'UUIDv7; key of its events';
COMMENT ON COLUMN reservation.order_id IS 'The order it is for: one reservation each';
COMMENT ON COLUMN reservation.saga_id IS 'The saga that made it; no other may release or commit it';
COMMENT ON COLUMN reservation.state IS 'held, then released (taken back) or committed (sold); a sale may be restocked (put back on the shelf)';
COMMENT ON COLUMN reservation.skus IS 'What it holds: stock keeping units in order, each once. In the row itself: written with it, and read with it';
COMMENT ON COLUMN reservation.quantities IS 'Pieces of each';
COMMENT ON COLUMN reservation.created_at IS 'When the stock was held';
COMMENT ON COLUMN reservation.updated_at IS 'When the state last changed';

CREATE VIEW reservation_line AS
SELECT r.id AS reservation_id, l.sku, l.quantity
  FROM reservation r CROSS JOIN LATERAL unnest(r.skus, r.quantities) AS l(sku, quantity);
COMMENT ON VIEW   reservation_line IS 'What a reservation holds of each SKU, a row each: for those who look on';
COMMENT ON COLUMN reservation_line.reservation_id IS 'The reservation';
COMMENT ON COLUMN reservation_line.sku IS 'Stock keeping unit';
COMMENT ON COLUMN reservation_line.quantity IS 'Pieces';
