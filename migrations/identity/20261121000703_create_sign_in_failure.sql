-- Wrong passwords in a row: all instances count together.
CREATE TABLE sign_in_failure (
  login          bytea       PRIMARY KEY CHECK (length(login) = 32),
  failures       int         NOT NULL CHECK (failures > 0),
  last_failed_at timestamptz NOT NULL DEFAULT now(),
  refused_until  timestamptz NOT NULL DEFAULT 'epoch'
);
CREATE INDEX sign_in_failure_last ON sign_in_failure (last_failed_at);
COMMENT ON TABLE  sign_in_failure IS 'Logins with wrong passwords since the last right one; a row goes a day after its last failure';
COMMENT ON COLUMN sign_in_failure.login IS 'SHA-256 of the login, lower case: people type passwords there, too';
COMMENT ON COLUMN sign_in_failure.failures IS 'Wrong passwords in a row';
COMMENT ON COLUMN sign_in_failure.last_failed_at IS 'When the last one was wrong';
COMMENT ON COLUMN sign_in_failure.refused_until IS 'Until then no password is looked at; the epoch before there is a reason';
