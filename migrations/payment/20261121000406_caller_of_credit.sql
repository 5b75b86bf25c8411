-- Each caller has keys of his own: another's must not pass for a repeat.
ALTER TABLE wallet_credit ADD COLUMN caller text NOT NULL DEFAULT '',
  DROP CONSTRAINT wallet_credit_pkey, ADD PRIMARY KEY (caller, key);
ALTER TABLE wallet_credit ALTER COLUMN caller DROP DEFAULT;
COMMENT ON COLUMN wallet_credit.caller IS 'Whose key; empty: a seed, which is kept for ever';
