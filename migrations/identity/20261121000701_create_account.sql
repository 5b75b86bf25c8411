-- Accounts: who can sign in. A deleted account leaves no row.
CREATE TABLE account (
  id               text        COLLATE "C" PRIMARY KEY CHECK (id ~ '^[A-Za-z0-9._-]{1,64}$'),
  email            text        NOT NULL CHECK (length(email) <= 254),
  user_name        text        NOT NULL CONSTRAINT account_user_name_key UNIQUE
                               CHECK (user_name ~ '^[a-z0-9._-]{3,32}$'),
  first_name       text        NOT NULL,
  last_name        text        NOT NULL,
  password_hash    text        NOT NULL CHECK (password_hash LIKE '$argon2id$%'),
  password_version int         NOT NULL DEFAULT 1,
  roles            text[]      NOT NULL CONSTRAINT account_roles_known
                               CHECK (roles <@ '{customer,staff,operator,admin}' AND 'customer' = ANY (roles)),
  created_at       timestamptz NOT NULL DEFAULT now(),
  updated_at       timestamptz NOT NULL DEFAULT now()
);
-- whoever writes it in another case is the same
CREATE UNIQUE INDEX account_email_key ON account (lower(email));
-- there has to be one, which is asked whenever one is to go
CREATE INDEX account_admin ON account (id) WHERE 'admin' = ANY (roles);
COMMENT ON TABLE  account IS 'Who can sign in';
COMMENT ON COLUMN account.id IS 'User id, as tokens and all services have it';
COMMENT ON COLUMN account.email IS 'E-mail address as it was given; unique in any case';
COMMENT ON COLUMN account.user_name IS 'User name, lower case';
COMMENT ON COLUMN account.first_name IS 'First name; may be empty';
COMMENT ON COLUMN account.last_name IS 'Last name; may be empty';
COMMENT ON COLUMN account.password_hash IS 'Argon2id as a PHC string: parameters, salt and hash';
COMMENT ON COLUMN account.password_version IS 'Raised by each change of the password, not when the same one is hashed anew: who has verified an older one is too late';
COMMENT ON COLUMN account.roles IS 'What the user is trusted with, sorted as the code has them; customer always';
COMMENT ON COLUMN account.created_at IS 'When it was registered';
COMMENT ON COLUMN account.updated_at IS 'When it was changed last';

CREATE TABLE registration (
  key         text        PRIMARY KEY,
  fingerprint bytea       NOT NULL CHECK (length(fingerprint) = 32),
  account_id  text        COLLATE "C" NOT NULL REFERENCES account ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
  at          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX registration_account ON registration (account_id);
COMMENT ON TABLE  registration IS 'Registrations that came with an idempotency key: a repeat is answered with the same user';
COMMENT ON COLUMN registration.key IS 'Chosen by the caller';
COMMENT ON COLUMN registration.fingerprint IS 'SHA-256 of what was asked for, without the password: that is compared with the hash of the account';
COMMENT ON COLUMN registration.account_id IS 'Who was registered; the key is written before him, so that a second one with it waits';
COMMENT ON COLUMN registration.at IS 'When it was registered';
