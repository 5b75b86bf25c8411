-- The card processor's own records: what was asked under a key, and what was answered.
CREATE TABLE processed (
  idempotency_key text        PRIMARY KEY,
  kind            text        NOT NULL CHECK (kind IN ('charge', 'refund')),
  charge_key      text,
  token           text,
  amount_minor    bigint      CHECK (amount_minor > 0),
  currency        text,
  refunded_minor  bigint      NOT NULL DEFAULT 0,
  outcome         text        NOT NULL CHECK (outcome IN ('approved', 'declined')),
  reference       text        NOT NULL,
  decline_code    text,
  at              timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT processed_declined_has_code CHECK ((outcome = 'declined') = (decline_code IS NOT NULL)),
  CONSTRAINT processed_charge_is_whole CHECK (
    kind <> 'charge' OR (charge_key IS NULL AND token IS NOT NULL AND amount_minor IS NOT NULL AND currency IS NOT NULL)),
  CONSTRAINT processed_refund_names_charge CHECK (
    kind <> 'refund' OR (charge_key IS NOT NULL AND token IS NULL AND amount_minor IS NOT NULL)),
  -- whatever the keys, no more is paid back than was charged
  CONSTRAINT processed_pays_back_what_it_took CHECK (
    refunded_minor BETWEEN 0 AND CASE WHEN kind = 'charge' AND outcome = 'approved' THEN amount_minor ELSE 0 END)
);
COMMENT ON TABLE  processed IS 'One row a key; a repeat of the key reads it and changes nothing, but a refund that was declined is decided anew';
COMMENT ON COLUMN processed.idempotency_key IS 'Chosen by the caller';
COMMENT ON COLUMN processed.kind IS 'What was asked for';
COMMENT ON COLUMN processed.charge_key IS 'Refund: key of the charge that is paid back';
COMMENT ON COLUMN processed.token IS 'Charge: token of the card';
COMMENT ON COLUMN processed.amount_minor IS 'Minor units of the charge, or of what was to be paid back';
COMMENT ON COLUMN processed.currency IS 'Currency of the amount; null for a refund of an unknown charge';
COMMENT ON COLUMN processed.refunded_minor IS 'Charge: minor units that were paid back';
COMMENT ON COLUMN processed.outcome IS 'What was answered';
COMMENT ON COLUMN processed.reference IS 'Our reference of the charge or the refund';
COMMENT ON COLUMN processed.decline_code IS 'Why it was declined';
COMMENT ON COLUMN processed.at IS 'When it was answered first';
