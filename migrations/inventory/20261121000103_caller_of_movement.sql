-- Each caller has keys of his own: another's must not pass for a repeat.
ALTER TABLE movement ADD COLUMN caller text NOT NULL DEFAULT '',
  DROP CONSTRAINT movement_request_key, ADD CONSTRAINT movement_request_key UNIQUE (caller, request);
ALTER TABLE movement ALTER COLUMN caller DROP DEFAULT;
COMMENT ON COLUMN movement.caller IS 'Whose adjustment, and whose key; empty: what a product began with, or a seed';
