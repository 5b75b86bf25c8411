-- Calls to the card processor that are owed: written before the call, deleted with its outcome.
CREATE TABLE card_intent (
  payment_id  uuid        NOT NULL, -- in payment, whose rows are never deleted: no check for each call
  kind        text        NOT NULL CHECK (kind IN ('charge', 'refund')),
  direction   text        NOT NULL CHECK (direction IN ('forward', 'backward')),
  step_key    uuid        NOT NULL,
  saga_id     uuid        NOT NULL,
  step        text        NOT NULL,
  attempts    int         NOT NULL DEFAULT 0,
  next_try_at timestamptz NOT NULL DEFAULT now(),
  created_at  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (payment_id, kind),
  CONSTRAINT card_intent_charges_forward CHECK (kind <> 'charge' OR direction = 'forward')
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE  card_intent IS 'A crash leaves the row: the call is made again with the same key';
COMMENT ON COLUMN card_intent.payment_id IS 'The payment';
COMMENT ON COLUMN card_intent.kind IS 'What to ask for';
COMMENT ON COLUMN card_intent.direction IS 'Which way its answer settles the step: a refund is a compensation, or an action of another saga';
COMMENT ON COLUMN card_intent.step_key IS 'Idempotency key at the processor, the same over all attempts';
COMMENT ON COLUMN card_intent.saga_id IS 'Whose step is settled by the answer';
COMMENT ON COLUMN card_intent.step IS 'Step of the plan';
COMMENT ON COLUMN card_intent.attempts IS 'Calls begun';
COMMENT ON COLUMN card_intent.next_try_at IS 'When to call; pushed ahead as a lease while a call is out';
COMMENT ON COLUMN card_intent.created_at IS 'The processor forgets keys: an old intent is only looked up';
CREATE INDEX card_intent_due ON card_intent (next_try_at); -- what is due, oldest first
