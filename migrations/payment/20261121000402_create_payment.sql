-- Payments: a row for each charge of a wallet or a card, refused ones too.
CREATE TABLE payment (
  id                  uuid        PRIMARY KEY,
  order_id            uuid        NOT NULL CONSTRAINT payment_one_an_order UNIQUE,
  saga_id             uuid        NOT NULL,
  user_id             text        NOT NULL,
  method              text        NOT NULL CHECK (method IN ('wallet', 'card')),
  amount_minor        bigint      NOT NULL CHECK (amount_minor > 0),
  currency            text        NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  refunded_minor      bigint      NOT NULL DEFAULT 0,
  refunding_minor     bigint      NOT NULL DEFAULT 0,
  state               text        NOT NULL CHECK (state IN ('pending', 'captured', 'declined', 'refunding', 'refunded')),
  reason              text,
  card_token          text,
  charge_key          uuid,
  processor_reference text,
  created_at          timestamptz NOT NULL DEFAULT now(),
  updated_at          timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT payment_card_is_whole CHECK (
    (method = 'card') = (card_token IS NOT NULL) AND (method = 'card') = (charge_key IS NOT NULL)),
  CONSTRAINT payment_gives_back_what_it_took CHECK (
    refunded_minor >= 0 AND refunding_minor >= 0 AND refunded_minor + refunding_minor <= amount_minor),
  CONSTRAINT payment_state_tells_refunds CHECK (
    (state = 'refunded') = (refunded_minor = amount_minor) AND (state = 'refunding') = (refunding_minor > 0)
    AND (state IN ('captured', 'refunding', 'refunded') OR refunded_minor = 0)),
  CONSTRAINT payment_wallet_is_settled CHECK (method = 'card' OR state NOT IN ('pending', 'refunding')),
  CONSTRAINT payment_declined_has_reason CHECK ((state = 'declined') = (reason IS NOT NULL)),
  CONSTRAINT payment_taken_has_reference CHECK (
    (processor_reference IS NOT NULL) = (method = 'card' AND state IN ('captured', 'refunding', 'refunded')))
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.1, autovacuum_analyze_scale_factor = 0.5, autovacuum_analyze_threshold = 20000);
COMMENT ON TABLE  payment IS 'Every change of state names the state it expects';
COMMENT ON COLUMN payment.id IS 'UUIDv7; key of its events';
COMMENT ON COLUMN payment.order_id IS 'What is paid; a refund finds the payment by it';
COMMENT ON COLUMN payment.saga_id IS 'The saga that asked for the money';
COMMENT ON COLUMN payment.user_id IS 'Who pays';
COMMENT ON COLUMN payment.method IS 'wallet or card';
COMMENT ON COLUMN payment.amount_minor IS 'Minor units';
COMMENT ON COLUMN payment.currency IS 'Currency of the amount';
COMMENT ON COLUMN payment.refunded_minor IS 'Minor units that went back: the sum of its refunds that are done';
COMMENT ON COLUMN payment.refunding_minor IS 'Minor units that the card processor was asked to pay back: the sum of its refunds that are pending';
COMMENT ON COLUMN payment.state IS 'pending and refunding: the card processor was asked; captured, declined: settled; refunded: all of it went back';
COMMENT ON COLUMN payment.reason IS 'Why it was declined';
COMMENT ON COLUMN payment.card_token IS 'The processor''s token; never a card number';
COMMENT ON COLUMN payment.charge_key IS 'Idempotency key of the charge at the processor; a refund names it';
COMMENT ON COLUMN payment.processor_reference IS 'The processor''s reference of the charge, once the money is taken';
COMMENT ON COLUMN payment.created_at IS 'When it was asked for';
COMMENT ON COLUMN payment.updated_at IS 'When the state last changed';
