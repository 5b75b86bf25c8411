-- Calls to the card processor that are owed: written before the call, deleted with its outcome.
CREATE TABLE card_intent (
  call_key     uuid        PRIMARY KEY,
  payment_id   uuid        NOT NULL, -- in payment, whose rows are never deleted: no check for each call
  kind         text        NOT NULL CHECK (kind IN ('charge', 'refund')),
  refund_id    uuid,
  refund_minor bigint      CHECK (refund_minor > 0),
  direction    text        CHECK (direction IN ('forward', 'backward')),
  saga_id      uuid,
  step         text,
  traceparent  text,
  attempts     int         NOT NULL DEFAULT 0,
  next_try_at  timestamptz NOT NULL DEFAULT now(),
  created_at   timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT card_intent_names_refund CHECK (
    (kind = 'refund') = (refund_id IS NOT NULL) AND (refund_id IS NULL) = (refund_minor IS NULL)),
  CONSTRAINT card_intent_is_of_a_step_or_a_call CHECK (
    (saga_id IS NULL) = (step IS NULL) AND (saga_id IS NULL) = (direction IS NULL)
    AND (saga_id IS NULL) = (traceparent IS NOT NULL)),
  CONSTRAINT card_intent_charges_forward CHECK (kind <> 'charge' OR (direction IS NOT NULL AND direction = 'forward'))
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE  card_intent IS 'A crash leaves the row: the call is made again with the same key';
COMMENT ON COLUMN card_intent.payment_id IS 'The payment';
COMMENT ON COLUMN card_intent.kind IS 'What to ask for';
COMMENT ON COLUMN card_intent.call_key IS 'Idempotency key at the processor, the same over all attempts: of the saga''s step, or the refund''s id';
COMMENT ON COLUMN card_intent.refund_id IS 'The refund that is asked for';
COMMENT ON COLUMN card_intent.refund_minor IS 'What it pays back, in minor units of the payment''s currency; a charge takes all of the payment''s amount';
COMMENT ON COLUMN card_intent.direction IS 'Which way its answer settles the step: a refund is a compensation, or an action of another saga';
COMMENT ON COLUMN card_intent.saga_id IS 'Whose step is settled by the answer; null for a refund that a person asked for';
COMMENT ON COLUMN card_intent.step IS 'Step of the plan';
COMMENT ON COLUMN card_intent.traceparent IS 'Trace of the call by which a person asked; that of a step stands in its guard row';
COMMENT ON COLUMN card_intent.attempts IS 'Calls begun';
COMMENT ON COLUMN card_intent.next_try_at IS 'When to call; pushed ahead as a lease while a call is out';
COMMENT ON COLUMN card_intent.created_at IS 'The processor forgets keys: an old intent is only looked up';
CREATE INDEX card_intent_due ON card_intent (next_try_at); -- what is due, oldest first
