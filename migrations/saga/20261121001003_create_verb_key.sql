-- Verbs that came with an idempotency key, and what was answered.
CREATE TABLE verb_key (
  principal   text        NOT NULL,
  key         text        NOT NULL,
  fingerprint bytea       NOT NULL,
  answer      bytea       NOT NULL DEFAULT '',
  created_at  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (principal, key)
);
CREATE INDEX verb_key_by_age ON verb_key (created_at); -- the purge
COMMENT ON TABLE  verb_key IS 'Verbs on one saga that came with an idempotency key: a repeat does nothing more, and is told the same';
COMMENT ON COLUMN verb_key.principal IS 'Whose key';
COMMENT ON COLUMN verb_key.key IS 'Idempotency-Key of the request';
COMMENT ON COLUMN verb_key.fingerprint IS 'SHA-256 of the request: the same key with another one is a conflict';
COMMENT ON COLUMN verb_key.answer IS 'What the verb did, protobuf; without the saga, which is shown as it is when the verb is repeated';
COMMENT ON COLUMN verb_key.created_at IS 'When';
