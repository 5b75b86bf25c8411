-- Keys that tokens are signed with: all instances agree by this table.
CREATE TABLE signing_key (
  id         text        PRIMARY KEY,
  pkcs8      bytea       NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  signs_from timestamptz NOT NULL
);
COMMENT ON TABLE  signing_key IS 'Private keys: one signs, those before it are published until the last token of theirs has expired';
COMMENT ON COLUMN signing_key.id IS 'kid: thumbprint of the public half (RFC 7638)';
COMMENT ON COLUMN signing_key.pkcs8 IS 'The private key, PKCS #8: whoever reads it can make tokens';
COMMENT ON COLUMN signing_key.created_at IS 'When it was drawn; it is published from then on';
COMMENT ON COLUMN signing_key.signs_from IS 'It signs from then on, until that of the next key; later than created_at, so that everybody knows it by then';
