-- What users mean to order, and what they were quoted.
CREATE TABLE cart (
  user_id    text        PRIMARY KEY,
  skus       text[]      NOT NULL,
  quantities int[]       NOT NULL CHECK (0 < ALL (quantities)),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT cart_lines_are_whole CHECK (cardinality(skus) <= 100 AND cardinality(skus) = cardinality(quantities))
);
COMMENT ON TABLE  cart IS 'One for each user who has something in it; who changes or orders it holds the row';
COMMENT ON COLUMN cart.user_id IS 'Whose';
COMMENT ON COLUMN cart.skus IS 'What is in it, a place for each line, as put in; prices are read fresh';
COMMENT ON COLUMN cart.quantities IS 'Pieces of each';
COMMENT ON COLUMN cart.updated_at IS 'When it last changed';

CREATE TABLE quote (
  id           uuid        PRIMARY KEY,
  user_id      text        NOT NULL,
  total_minor  bigint      NOT NULL CHECK (total_minor > 0),
  currency     text        NOT NULL,
  skus         text[]      NOT NULL,
  names        text[]      NOT NULL,
  quantities   int[]       NOT NULL CHECK (0 < ALL (quantities)),
  prices_minor bigint[]    NOT NULL CHECK (0 < ALL (prices_minor)),
  created_at   timestamptz NOT NULL,
  expires_at   timestamptz NOT NULL,
  order_id     uuid UNIQUE,
  CONSTRAINT quote_lines_are_whole CHECK (
    cardinality(skus) > 0 AND cardinality(skus) = cardinality(names)
    AND cardinality(skus) = cardinality(quantities) AND cardinality(skus) = cardinality(prices_minor))
);
COMMENT ON TABLE  quote IS 'Prices that were promised; a quote is ordered once, until it expires';
COMMENT ON COLUMN quote.id IS 'UUIDv7';
COMMENT ON COLUMN quote.user_id IS 'Whose; others are told that there is none';
COMMENT ON COLUMN quote.total_minor IS 'Sum of the lines in minor units';
COMMENT ON COLUMN quote.currency IS 'ISO 4217';
COMMENT ON COLUMN quote.skus IS 'What was quoted, a place for each line';
COMMENT ON COLUMN quote.names IS 'Name of each when it was quoted';
COMMENT ON COLUMN quote.quantities IS 'Pieces of each';
COMMENT ON COLUMN quote.prices_minor IS 'Price of one piece of each that was promised';
COMMENT ON COLUMN quote.created_at IS 'When, by the clock of the service';
COMMENT ON COLUMN quote.expires_at IS 'From then on nothing is sold by it, by the clock of the service';
COMMENT ON COLUMN quote.order_id IS 'The order that was placed by it; null until then';
CREATE INDEX quote_by_age ON quote (expires_at); -- the purge
CREATE INDEX quote_by_user ON quote (user_id); -- who is deleted
