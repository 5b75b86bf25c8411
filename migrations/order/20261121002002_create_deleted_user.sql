-- Users who were deleted: what identifies them is taken out of their orders.
CREATE TABLE deleted_user (
  user_id      text        PRIMARY KEY,
  deleted_at   timestamptz NOT NULL DEFAULT now(),
  next_look_at timestamptz DEFAULT now(),
  looked_to    uuid,
  left_some    boolean     NOT NULL DEFAULT false,
  CONSTRAINT deleted_user_looks_until_the_end CHECK (looked_to IS NULL OR next_look_at IS NOT NULL)
);
COMMENT ON TABLE  deleted_user IS 'Orders that are under way at the deletion, or come after it, are found by later looks';
COMMENT ON COLUMN deleted_user.user_id IS 'Who; an id that names nobody any more';
COMMENT ON COLUMN deleted_user.deleted_at IS 'When it was heard of here';
COMMENT ON COLUMN deleted_user.next_look_at IS 'When his orders are to be looked at; null: none of them names him, and none can come any more';
COMMENT ON COLUMN deleted_user.looked_to IS 'The last order that the look under way has seen';
COMMENT ON COLUMN deleted_user.left_some IS 'It has seen orders that have to keep his address still';
CREATE INDEX deleted_user_due ON deleted_user (next_look_at) WHERE next_look_at IS NOT NULL; -- who is due
