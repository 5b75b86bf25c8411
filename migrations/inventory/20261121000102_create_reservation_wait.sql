-- Reservations that wait: what they need is held for others, who may yet give it back.
CREATE TABLE reservation_wait (
  seq        bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  saga_id    uuid        NOT NULL,
  step       text        NOT NULL,
  order_id   uuid        NOT NULL,
  skus       text[]      NOT NULL,
  quantities bigint[]    NOT NULL,
  until      timestamptz NOT NULL,
  UNIQUE (saga_id, step),
  CHECK (cardinality(skus) > 0 AND cardinality(skus) = cardinality(quantities))
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE  reservation_wait IS 'Queue of reservations, first come first served for each SKU; who waits holds nothing';
COMMENT ON COLUMN reservation_wait.seq IS 'Order of arrival: drawn while the stock rows are locked';
COMMENT ON COLUMN reservation_wait.saga_id IS 'The saga that waits; its guard row is pending as long';
COMMENT ON COLUMN reservation_wait.step IS 'Its step';
COMMENT ON COLUMN reservation_wait.order_id IS 'The order it is for';
COMMENT ON COLUMN reservation_wait.skus IS 'What it needs, each once';
COMMENT ON COLUMN reservation_wait.quantities IS 'How many pieces of each';
COMMENT ON COLUMN reservation_wait.until IS 'Refused then, if it still waits';
