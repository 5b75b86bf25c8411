-- Parcels on their way.
CREATE TABLE shipment (
  id          uuid        PRIMARY KEY,
  order_id    uuid        NOT NULL UNIQUE,
  user_id     text        NOT NULL,
  saga_id     uuid        NOT NULL,
  state       text        NOT NULL CHECK (state IN ('arranged', 'dispatched', 'recalled')),
  recalled_by uuid,
  carrier     text        NOT NULL,
  name        text        NOT NULL,
  street      text        NOT NULL,
  postal_code text        NOT NULL,
  city        text        NOT NULL,
  country     text        NOT NULL,
  skus        text[]      NOT NULL,
  quantities  int[]       NOT NULL CHECK (0 < ALL (quantities)),
  created_at  timestamptz NOT NULL DEFAULT now(),
  updated_at  timestamptz NOT NULL DEFAULT now(),
  CHECK (cardinality(skus) = cardinality(quantities)),
  CONSTRAINT shipment_recalled_by_a_saga CHECK ((state = 'recalled') = (recalled_by IS NOT NULL))
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.1, autovacuum_analyze_scale_factor = 0.5, autovacuum_analyze_threshold = 20000);
COMMENT ON TABLE  shipment IS 'A parcel that a carrier was booked for';
COMMENT ON COLUMN shipment.id IS 'UUIDv7; key of its events';
COMMENT ON COLUMN shipment.order_id IS 'The order it belongs to: one shipment each';
COMMENT ON COLUMN shipment.user_id IS 'Whose order it is: he may see it';
COMMENT ON COLUMN shipment.saga_id IS 'The saga that arranged it';
COMMENT ON COLUMN shipment.state IS 'arranged: booked; then dispatched (handed over) or recalled (called back before that)';
COMMENT ON COLUMN shipment.recalled_by IS 'The saga that called it back';
COMMENT ON COLUMN shipment.carrier IS 'Name of the carrier at the time of booking';
COMMENT ON COLUMN shipment.name IS 'Who receives it';
COMMENT ON COLUMN shipment.street IS 'Street and house number';
COMMENT ON COLUMN shipment.postal_code IS 'Postal code';
COMMENT ON COLUMN shipment.city IS 'City';
COMMENT ON COLUMN shipment.country IS 'ISO 3166-1 alpha-2';
COMMENT ON COLUMN shipment.skus IS 'What is in the parcel, in the order of the order''s lines: stock keeping units. In the row itself: written with it, and read with it';
COMMENT ON COLUMN shipment.quantities IS 'Pieces of each';
COMMENT ON COLUMN shipment.created_at IS 'When it was arranged';
COMMENT ON COLUMN shipment.updated_at IS 'When the state last changed';
