-- The ledger: double entry, insert only. Each transfer's entries sum to zero.
CREATE TABLE ledger_entry (
  id           uuid        NOT NULL,
  transfer_id  uuid        NOT NULL,
  kind         text        NOT NULL CHECK (kind IN ('credit', 'charge', 'refund', 'closure')),
  payment_id   uuid,
  refund_id    uuid,
  account      text        NOT NULL CHECK (account IN ('shop', 'processor', 'funding', 'unclaimed') OR account LIKE 'wallet:_%'),
  amount_minor bigint      NOT NULL CHECK (amount_minor <> 0),
  currency     text        NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  at           timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (account, id), -- the entries of a wallet, in order
  CONSTRAINT ledger_entry_names_payment CHECK ((kind IN ('credit', 'closure')) = (payment_id IS NULL)),
  CONSTRAINT ledger_entry_names_refund CHECK ((kind = 'refund') = (refund_id IS NOT NULL))
) WITH (autovacuum_vacuum_insert_scale_factor = 0.5, autovacuum_analyze_scale_factor = 0.5, autovacuum_analyze_threshold = 20000);
COMMENT ON TABLE  ledger_entry IS 'The truth about money; wallets keep a balance beside it, the shop does not';
COMMENT ON COLUMN ledger_entry.id IS 'UUIDv7';
COMMENT ON COLUMN ledger_entry.transfer_id IS 'The transfer; its entries sum to zero in its currency';
COMMENT ON COLUMN ledger_entry.kind IS 'credit: into a wallet; charge; refund: a charge, or a part of it, reversed; closure: out of a wallet that is closed';
COMMENT ON COLUMN ledger_entry.payment_id IS 'The payment that a charge or a refund is about';
COMMENT ON COLUMN ledger_entry.refund_id IS 'The refund; one transfer each';
COMMENT ON COLUMN ledger_entry.account IS 'wallet:<user>, shop (revenue), processor (card clearing), funding (source of credits), unclaimed (of closed wallets)';
COMMENT ON COLUMN ledger_entry.amount_minor IS 'Minor units; more than zero is in favour of the account';
COMMENT ON COLUMN ledger_entry.currency IS 'Currency of the amount';
COMMENT ON COLUMN ledger_entry.at IS 'When the money moved';
