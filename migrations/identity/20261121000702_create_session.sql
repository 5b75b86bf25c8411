-- Sessions: what refresh tokens stand for.
CREATE TABLE session (
  id           uuid        PRIMARY KEY,
  account_id   text        COLLATE "C" NOT NULL REFERENCES account ON DELETE CASCADE,
  secret       bytea       NOT NULL CHECK (length(secret) = 32),
  generation   int         NOT NULL CHECK (generation > 0),
  rotated_at   timestamptz NOT NULL DEFAULT now(),
  created_at   timestamptz NOT NULL DEFAULT now(),
  expires_at   timestamptz NOT NULL,
  ended_at     timestamptz,
  ended_reason text        CONSTRAINT session_ended_reason_known
                           CHECK (ended_reason IN ('signed-out', 'reused', 'password-changed', 'too-many')),
  CONSTRAINT session_ended_for_a_reason CHECK ((ended_at IS NULL) = (ended_reason IS NULL))
);
CREATE INDEX session_account ON session (account_id, created_at);
-- for the purge
CREATE INDEX session_expires ON session (expires_at);
CREATE INDEX session_ended ON session (ended_at) WHERE ended_at IS NOT NULL;
COMMENT ON TABLE  session IS 'What somebody has who has signed in; rows go a day after their end';
COMMENT ON COLUMN session.id IS 'Session id, as tokens have it';
COMMENT ON COLUMN session.account_id IS 'Whose';
COMMENT ON COLUMN session.secret IS 'Refresh tokens are signed with it, so it stands here as it is: who reads this table can make refresh tokens, as who reads signing_key can make access tokens';
COMMENT ON COLUMN session.generation IS 'Of the refresh token that is good now; counts refreshes from 1';
COMMENT ON COLUMN session.rotated_at IS 'When that token was made: the one before it is answered for half a minute more';
COMMENT ON COLUMN session.created_at IS 'When the user signed in';
COMMENT ON COLUMN session.expires_at IS '30 days after the last refresh, 90 days after the sign-in at the latest';
COMMENT ON COLUMN session.ended_at IS 'When it ended before it expired';
COMMENT ON COLUMN session.ended_reason IS 'Why';
