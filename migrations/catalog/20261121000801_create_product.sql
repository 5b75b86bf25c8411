-- Products and their categories: what the shop has.
CREATE TABLE category (
  id         text        COLLATE "C" PRIMARY KEY CHECK (id ~ '^[a-z0-9-]{1,64}$'),
  name       text        COLLATE "C" NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX category_by_name ON category (name, id);
COMMENT ON TABLE  category IS 'Products of one kind';
COMMENT ON COLUMN category.id IS 'Chosen by whoever makes it, such as kitchen';
COMMENT ON COLUMN category.name IS 'Shown';
COMMENT ON COLUMN category.created_at IS 'When it was made';

CREATE TABLE product (
  id          uuid        PRIMARY KEY,
  sku         text        COLLATE "C" NOT NULL CONSTRAINT product_sku_key UNIQUE
                          CHECK (sku ~ '^[A-Za-z0-9._-]{1,64}$'),
  name        text        NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
  description text        NOT NULL CHECK (length(description) <= 5000),
  category_id text        COLLATE "C" CONSTRAINT product_category REFERENCES category,
  price_minor bigint      NOT NULL CHECK (price_minor > 0),
  currency    text        NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  picture_url text        NOT NULL CHECK (length(picture_url) <= 1000),
  revision    bigint      NOT NULL DEFAULT 1 CHECK (revision > 0),
  created_at  timestamptz NOT NULL DEFAULT now(),
  updated_at  timestamptz NOT NULL DEFAULT now(),
  deleted_at  timestamptz,
  sort_name   text        COLLATE "C" NOT NULL,
  sought      text        NOT NULL,
  words       tsvector    NOT NULL GENERATED ALWAYS AS (to_tsvector('simple', sought)) STORED,
  CONSTRAINT product_deleted_leaves_its_category CHECK (deleted_at IS NULL OR category_id IS NULL)
);
-- one for each sort, read in both directions; and the same of a category
CREATE INDEX product_by_name ON product (sort_name, id) WHERE deleted_at IS NULL;
CREATE INDEX product_by_price ON product (price_minor, id) WHERE deleted_at IS NULL;
CREATE INDEX product_by_age ON product (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX product_of_category_by_name ON product (category_id, sort_name, id) WHERE category_id IS NOT NULL;
CREATE INDEX product_of_category_by_price ON product (category_id, price_minor, id) WHERE category_id IS NOT NULL;
CREATE INDEX product_of_category_by_age ON product (category_id, created_at, id) WHERE category_id IS NOT NULL;
CREATE INDEX product_words ON product USING gin (words);
COMMENT ON TABLE  product IS 'What can be ordered; a row stays when it is deleted, so that its SKU is never used for another';
COMMENT ON COLUMN product.id IS 'UUIDv7; of the demo''s articles a UUIDv5 of their SKU. Key of its events';
COMMENT ON COLUMN product.sku IS 'What orders and stock name it by';
COMMENT ON COLUMN product.name IS 'Shown, and copied into order lines';
COMMENT ON COLUMN product.description IS 'Shown; may be empty';
COMMENT ON COLUMN product.category_id IS 'Its category, if it has one';
COMMENT ON COLUMN product.price_minor IS 'Price of one piece in minor units';
COMMENT ON COLUMN product.currency IS 'ISO 4217';
COMMENT ON COLUMN product.picture_url IS 'Where its picture is; may be empty';
COMMENT ON COLUMN product.revision IS 'Counts its changes from 1, its deletion too';
COMMENT ON COLUMN product.created_at IS 'When it was created';
COMMENT ON COLUMN product.updated_at IS 'When it was changed last';
COMMENT ON COLUMN product.deleted_at IS 'When it was deleted';
COMMENT ON COLUMN product.sort_name IS 'Its name in lower case. Written by the service: what this database takes for a letter depends on its locale';
COMMENT ON COLUMN product.sought IS 'SKU, name and description as words in lower case, with nothing but letters and digits; written by the service';
COMMENT ON COLUMN product.words IS 'What a search looks in';

CREATE TABLE creation (
  user_id     text        NOT NULL,
  key         text        NOT NULL,
  fingerprint bytea       NOT NULL CHECK (length(fingerprint) = 32),
  product_id  uuid        NOT NULL,
  at          timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, key)
);
CREATE INDEX creation_by_age ON creation (at); -- the purge
COMMENT ON TABLE  creation IS 'Idempotency keys of created products: one product for each user and key, however often the call is repeated';
COMMENT ON COLUMN creation.user_id IS 'Whose key';
COMMENT ON COLUMN creation.key IS 'Idempotency-Key of the request';
COMMENT ON COLUMN creation.fingerprint IS 'SHA-256 of the request: the same key with another one is a conflict';
COMMENT ON COLUMN creation.product_id IS 'The product that was created; the key is written before it, so that a second one with it waits';
COMMENT ON COLUMN creation.at IS 'When';
