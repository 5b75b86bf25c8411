-- What there is of each SKU. For each: what was put in = available + held + sold.
CREATE TABLE stock (
  sku     text   PRIMARY KEY,
  on_hand bigint NOT NULL CHECK (on_hand >= 0),
  held    bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
  sold    bigint NOT NULL DEFAULT 0 CHECK (sold >= 0),
  waiting bigint NOT NULL DEFAULT 0 CHECK (waiting >= 0),
  CONSTRAINT stock_held_at_most_on_hand CHECK (held <= on_hand)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE  stock IS 'Stock of each SKU: few rows, written by every reservation';
COMMENT ON COLUMN stock.sku IS 'Stock keeping unit';
COMMENT ON COLUMN stock.on_hand IS 'Pieces in the warehouse, held ones included';
COMMENT ON COLUMN stock.held IS 'Pieces held for orders that are not decided yet';
COMMENT ON COLUMN stock.waiting IS 'Reservations that wait for held pieces to come free: nobody overtakes them';
COMMENT ON COLUMN stock.sold IS 'Pieces that left the warehouse by an order and have not come back';

CREATE TABLE movement (
  id      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  sku     text        NOT NULL REFERENCES stock,
  delta   bigint      NOT NULL CHECK (delta <> 0),
  reason  text        NOT NULL,
  on_hand bigint      NOT NULL,
  held    bigint      NOT NULL,
  request text        UNIQUE,
  at      timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE  movement IS 'Every adjustment by hand, and what a product began with: their sum for a SKU is what was ever put in';
COMMENT ON COLUMN movement.id IS 'Order of writing';
COMMENT ON COLUMN movement.sku IS 'Stock keeping unit';
COMMENT ON COLUMN movement.delta IS 'Pieces put in; negative: taken out';
COMMENT ON COLUMN movement.reason IS 'Why, in the words of whoever did it';
COMMENT ON COLUMN movement.on_hand IS 'Pieces in the warehouse afterwards: a repeat of the request hears the same';
COMMENT ON COLUMN movement.held IS 'Pieces held at that time';
COMMENT ON COLUMN movement.request IS 'Idempotency key of the request, if it had one';
COMMENT ON COLUMN movement.at IS 'When it was written';
CREATE INDEX movement_of_sku ON movement (sku, id);
