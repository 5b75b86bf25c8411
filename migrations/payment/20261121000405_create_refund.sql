-- Refunds: a row for each time that money of a payment goes back, or was asked to.
CREATE TABLE refund (
  id           uuid        NOT NULL,
  payment_id   uuid        NOT NULL, -- in payment, whose rows are never deleted, and locked by who writes here
  amount_minor bigint      NOT NULL CHECK (amount_minor > 0),
  reason       text        NOT NULL,
  state        text        NOT NULL CHECK (state IN ('pending', 'done', 'declined')),
  requested_by text        NOT NULL,
  created_at   timestamptz NOT NULL DEFAULT now(),
  updated_at   timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (payment_id, id) -- those of a payment, in order
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.1, autovacuum_analyze_scale_factor = 0.5, autovacuum_analyze_threshold = 20000);
COMMENT ON TABLE  refund IS 'What of it is done or pending, the payment sums up, and keeps within what it took';
COMMENT ON COLUMN refund.id IS 'UUIDv7';
COMMENT ON COLUMN refund.payment_id IS 'What is given back';
COMMENT ON COLUMN refund.amount_minor IS 'Minor units of the payment''s currency';
COMMENT ON COLUMN refund.reason IS 'Why, in words: of who asked, or the step of a saga';
COMMENT ON COLUMN refund.state IS 'pending: the card processor was asked; done: the money is back; declined: it is not, and will not be by this refund. What a saga asks for and is refused is deleted: it asks again';
COMMENT ON COLUMN refund.requested_by IS 'A user, or saga:<id>';
COMMENT ON COLUMN refund.created_at IS 'When it was asked for';
COMMENT ON COLUMN refund.updated_at IS 'When the state last changed';

CREATE TABLE refund_key (
  user_id      text        NOT NULL,
  key          text        NOT NULL,
  payment_id   uuid        NOT NULL,
  amount_minor bigint,
  currency     text,
  reason       text        NOT NULL,
  refund_id    uuid        NOT NULL,
  created_at   timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, key)
);
CREATE INDEX refund_key_by_age ON refund_key (created_at); -- the purge
COMMENT ON TABLE  refund_key IS 'Refunds that came with an idempotency key: a repeat of the key is answered with the same one';
COMMENT ON COLUMN refund_key.user_id IS 'Whose key';
COMMENT ON COLUMN refund_key.key IS 'Idempotency-Key of the request';
COMMENT ON COLUMN refund_key.payment_id IS 'What is to be given back; with amount and reason it tells a repeat from a reuse of the key';
COMMENT ON COLUMN refund_key.amount_minor IS 'Minor units; null: all that was left';
COMMENT ON COLUMN refund_key.currency IS 'Currency of the amount';
COMMENT ON COLUMN refund_key.reason IS 'Why';
COMMENT ON COLUMN refund_key.refund_id IS 'The refund that came of it';
COMMENT ON COLUMN refund_key.created_at IS 'When';
