-- Wallets: a balance a user, kept in step with the ledger by the transaction that writes both.
CREATE TABLE wallet (
  user_id       text        PRIMARY KEY,
  balance_minor bigint      NOT NULL CONSTRAINT wallet_balance_not_negative CHECK (balance_minor >= 0),
  currency      text        NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  opened_at     timestamptz NOT NULL DEFAULT now(),
  closed_at     timestamptz,
  CONSTRAINT wallet_closed_is_empty CHECK (closed_at IS NULL OR balance_minor = 0)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE  wallet IS 'Few rows, hot: room on the page keeps every change of a balance off the index';
COMMENT ON COLUMN wallet.user_id IS 'Whose it is';
COMMENT ON COLUMN wallet.balance_minor IS 'Minor units; the sum of the entries of account wallet:<user_id>';
COMMENT ON COLUMN wallet.currency IS 'Currency of the balance, fixed when the wallet is opened';
COMMENT ON COLUMN wallet.opened_at IS 'When it was opened: its user was registered, or it was credited';
COMMENT ON COLUMN wallet.closed_at IS 'When its user was deleted. The row stays: a registration that is heard of later opens no wallet where there is one';

CREATE TABLE wallet_credit (
  key          text        PRIMARY KEY,
  user_id      text        NOT NULL,
  amount_minor bigint      NOT NULL CHECK (amount_minor > 0),
  currency     text        NOT NULL,
  at           timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX wallet_credit_by_age ON wallet_credit (at); -- the purge
COMMENT ON TABLE  wallet_credit IS 'Credits that came with an idempotency key: a repeat of the key adds nothing';
COMMENT ON COLUMN wallet_credit.key IS 'Chosen by the caller';
COMMENT ON COLUMN wallet_credit.user_id IS 'Whose wallet; with the amount it tells a repeat from a reuse of the key';
COMMENT ON COLUMN wallet_credit.amount_minor IS 'Minor units';
COMMENT ON COLUMN wallet_credit.currency IS 'Currency of the amount';
COMMENT ON COLUMN wallet_credit.at IS 'When it was credited';
