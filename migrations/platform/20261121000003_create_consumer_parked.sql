-- Records that a consumer cannot handle: kept, so that nothing is dropped in silence.
CREATE TABLE consumer_parked (
  topic       text        NOT NULL,
  partition   int         NOT NULL,
  record_offset bigint    NOT NULL,
  key         bytea,
  headers     bytea       NOT NULL,
  payload     bytea       NOT NULL,
  error       text        NOT NULL,
  parked_at   timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (topic, partition, record_offset)
);
COMMENT ON TABLE  consumer_parked IS 'Poison: undecodable, or failing three times alone';
COMMENT ON COLUMN consumer_parked.topic IS 'Where it was read';
COMMENT ON COLUMN consumer_parked.partition IS 'Where it was read';
COMMENT ON COLUMN consumer_parked.record_offset IS 'Where it was read';
COMMENT ON COLUMN consumer_parked.key IS 'Key of the record';
COMMENT ON COLUMN consumer_parked.headers IS 'Headers, encoded as in outbox.headers';
COMMENT ON COLUMN consumer_parked.payload IS 'Body of the record';
COMMENT ON COLUMN consumer_parked.error IS 'Why it was parked';
COMMENT ON COLUMN consumer_parked.parked_at IS 'When it was parked';
