-- Orders, and what may be ordered.
CREATE TABLE product (
  sku         text    PRIMARY KEY,
  product_id  uuid,
  name        text,
  price_minor bigint  CHECK (price_minor > 0),
  currency    text,
  revision    bigint  NOT NULL CHECK (revision >= 0),
  deleted     boolean NOT NULL DEFAULT false,
  CONSTRAINT product_priced_until_deleted CHECK (deleted OR (name IS NOT NULL AND price_minor IS NOT NULL AND currency IS NOT NULL))
);
COMMENT ON TABLE  product IS 'What can be ordered, and at which price, as the catalogue''s events tell; a greater revision overwrites';
COMMENT ON COLUMN product.sku IS 'The thing; the catalogue never uses it for another';
COMMENT ON COLUMN product.product_id IS 'Its id in the catalogue; null: seeded, and not heard of yet';
COMMENT ON COLUMN product.name IS 'Shown, and copied into order lines; null: deleted';
COMMENT ON COLUMN product.price_minor IS 'Price of one piece in minor units; null: deleted';
COMMENT ON COLUMN product.currency IS 'ISO 4217; null: deleted';
COMMENT ON COLUMN product.revision IS 'That of the last change which was heard of; 0: seeded';
COMMENT ON COLUMN product.deleted IS 'A tombstone: it can be ordered no more, whatever comes late';

CREATE TABLE orders (
  id            uuid        PRIMARY KEY,
  user_id       text        NOT NULL,
  saga_id       uuid        NOT NULL UNIQUE,
  status        text        NOT NULL CHECK (status IN ('pending', 'confirmed', 'rejected', 'cancelling', 'cancelled')),
  reason        text,
  reason_detail text,
  total_minor   bigint      NOT NULL CHECK (total_minor > 0),
  currency      text        NOT NULL,
  address_name  text        NOT NULL,
  street        text        NOT NULL,
  postal_code   text        NOT NULL,
  city          text        NOT NULL,
  country       text        NOT NULL,
  method        text        NOT NULL CHECK (method IN ('wallet', 'card')),
  card_token    text,
  payment_id    uuid,
  shipment_id   uuid,
  cancellation_id uuid,
  created_at    timestamptz NOT NULL DEFAULT now(),
  updated_at    timestamptz NOT NULL DEFAULT now(),
  start_sent_at timestamptz NOT NULL DEFAULT now(),
  saga_known    boolean     NOT NULL DEFAULT false,
  traceparent   text        NOT NULL,
  skus          text[]      NOT NULL,
  names         text[]      NOT NULL,
  quantities    int[]       NOT NULL CHECK (0 < ALL (quantities)),
  prices_minor  bigint[]    NOT NULL CHECK (0 < ALL (prices_minor)),
  CONSTRAINT orders_lines_are_whole CHECK (
    cardinality(skus) > 0 AND cardinality(skus) = cardinality(names)
    AND cardinality(skus) = cardinality(quantities) AND cardinality(skus) = cardinality(prices_minor)),
  CONSTRAINT orders_rejected_with_reason CHECK ((status = 'rejected') = (reason IS NOT NULL)),
  CONSTRAINT orders_confirmed_with_ids CHECK ((status IN ('confirmed', 'cancelling', 'cancelled')) = (payment_id IS NOT NULL AND shipment_id IS NOT NULL)),
  CONSTRAINT orders_cancelled_by_one CHECK (status NOT IN ('cancelling', 'cancelled') OR cancellation_id IS NOT NULL),
  CONSTRAINT orders_card_with_token CHECK ((method = 'card') = (card_token IS NOT NULL))
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.1, autovacuum_analyze_scale_factor = 0.5, autovacuum_analyze_threshold = 20000);
COMMENT ON TABLE  orders IS 'Orders; a saga decides each';
COMMENT ON COLUMN orders.id IS 'UUIDv7; the business key of its saga';
COMMENT ON COLUMN orders.user_id IS 'Who placed it';
COMMENT ON COLUMN orders.saga_id IS 'The saga, drawn with the order';
COMMENT ON COLUMN orders.status IS 'pending until its saga has decided; cancelling while a reversing saga is under way';
COMMENT ON COLUMN orders.reason IS 'Why it was rejected: a constant name';
COMMENT ON COLUMN orders.reason_detail IS 'Why it was rejected, in words';
COMMENT ON COLUMN orders.total_minor IS 'Sum of the lines in minor units, computed here';
COMMENT ON COLUMN orders.currency IS 'ISO 4217';
COMMENT ON COLUMN orders.address_name IS 'Where it goes: name; deleted, when its user was and it is over';
COMMENT ON COLUMN orders.street IS 'Where it goes: street and number; deleted, as the name';
COMMENT ON COLUMN orders.postal_code IS 'Where it goes: postal code; deleted, as the name';
COMMENT ON COLUMN orders.city IS 'Where it goes: city';
COMMENT ON COLUMN orders.country IS 'Where it goes: ISO 3166-1 alpha-2';
COMMENT ON COLUMN orders.method IS 'How it is paid';
COMMENT ON COLUMN orders.card_token IS 'The card processor''s token; deleted, as the name';
COMMENT ON COLUMN orders.payment_id IS 'The payment, once confirmed';
COMMENT ON COLUMN orders.shipment_id IS 'The shipment, once confirmed';
COMMENT ON COLUMN orders.cancellation_id IS 'The last cancellation that was asked for';
COMMENT ON COLUMN orders.created_at IS 'When it was placed';
COMMENT ON COLUMN orders.updated_at IS 'When its status last changed';
COMMENT ON COLUMN orders.traceparent IS 'Trace of the call that placed it: a start that is sent again stays in it';
COMMENT ON COLUMN orders.skus IS 'What was ordered, a place for each line. In the row itself: written with it, and read with it';
COMMENT ON COLUMN orders.names IS 'Name of each when it was sold';
COMMENT ON COLUMN orders.quantities IS 'Pieces of each';
COMMENT ON COLUMN orders.prices_minor IS 'Price of one piece of each when it was sold';
COMMENT ON COLUMN orders.start_sent_at IS 'When StartSaga was last written to the outbox';
COMMENT ON COLUMN orders.saga_known IS 'The orchestrator has confirmed that it knows the saga';
CREATE INDEX orders_by_user ON orders (user_id, id);
CREATE INDEX orders_by_total ON orders (user_id, total_minor, id); -- a user's orders by what they cost
CREATE INDEX orders_by_status ON orders (status, id) WHERE status <> 'confirmed'; -- those of everybody; most are confirmed
CREATE INDEX orders_to_sweep ON orders (start_sent_at) WHERE status = 'pending' AND NOT saga_known; -- the sweep

CREATE VIEW order_line AS
SELECT o.id AS order_id, l.line, l.sku, l.name, l.quantity, l.price_minor
  FROM orders o CROSS JOIN LATERAL unnest(o.skus, o.names, o.quantities, o.prices_minor)
       WITH ORDINALITY AS l(sku, name, quantity, price_minor, line);
COMMENT ON VIEW   order_line IS 'What was ordered, as sold, a row each: for those who look on';
COMMENT ON COLUMN order_line.order_id IS 'The order';
COMMENT ON COLUMN order_line.line IS 'Counts from 1';
COMMENT ON COLUMN order_line.sku IS 'The thing';
COMMENT ON COLUMN order_line.name IS 'Its name when it was sold';
COMMENT ON COLUMN order_line.quantity IS 'Pieces';
COMMENT ON COLUMN order_line.price_minor IS 'Price of one piece when it was sold';

CREATE TABLE cancellation (
  id            uuid        PRIMARY KEY,
  order_id      uuid        NOT NULL REFERENCES orders,
  saga_id       uuid        NOT NULL UNIQUE,
  state         text        NOT NULL CHECK (state IN ('open', 'carried-out', 'refused')),
  reason        text,
  reason_detail text,
  requested_at  timestamptz NOT NULL DEFAULT now(),
  start_sent_at timestamptz NOT NULL DEFAULT now(),
  saga_known    boolean     NOT NULL DEFAULT false,
  traceparent   text        NOT NULL,
  CONSTRAINT cancellation_refused_with_reason CHECK ((state = 'refused') = (reason IS NOT NULL))
);
COMMENT ON TABLE  cancellation IS 'Tries to take a completed order back; a saga decides each';
COMMENT ON COLUMN cancellation.id IS 'UUIDv7; the business key of its saga: another try is another saga';
COMMENT ON COLUMN cancellation.order_id IS 'The order';
COMMENT ON COLUMN cancellation.saga_id IS 'The saga, drawn with the cancellation';
COMMENT ON COLUMN cancellation.state IS 'open until its saga has decided';
COMMENT ON COLUMN cancellation.reason IS 'Why it was refused: a constant name';
COMMENT ON COLUMN cancellation.reason_detail IS 'Why it was refused, in words';
COMMENT ON COLUMN cancellation.requested_at IS 'When it was asked for';
COMMENT ON COLUMN cancellation.start_sent_at IS 'When StartSaga was last written to the outbox';
COMMENT ON COLUMN cancellation.saga_known IS 'The orchestrator has confirmed that it knows the saga';
COMMENT ON COLUMN cancellation.traceparent IS 'Trace of the call that asked for it';
CREATE UNIQUE INDEX cancellation_one_open ON cancellation (order_id) WHERE state = 'open'; -- one live request an order
CREATE INDEX cancellation_to_sweep ON cancellation (start_sent_at) WHERE state = 'open' AND NOT saga_known; -- the sweep

CREATE TABLE idempotency_key (
  user_id     text        NOT NULL,
  key         text        NOT NULL,
  fingerprint bytea       NOT NULL,
  made_id     uuid        NOT NULL,
  created_at  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, key)
);
CREATE INDEX idempotency_key_by_age ON idempotency_key (created_at); -- the purge
COMMENT ON TABLE  idempotency_key IS 'One order or quote for each user and key, however often the call is repeated';
COMMENT ON COLUMN idempotency_key.user_id IS 'Whose key';
COMMENT ON COLUMN idempotency_key.key IS 'Idempotency-Key of the request';
COMMENT ON COLUMN idempotency_key.fingerprint IS 'SHA-256 of the request: the same key with another one is a conflict';
COMMENT ON COLUMN idempotency_key.made_id IS 'The order that was placed or cancelled, or the quote that was made';
COMMENT ON COLUMN idempotency_key.created_at IS 'When';
