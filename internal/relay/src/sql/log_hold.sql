-- Who writes to the log ends first, within a moment; who is about to write waits. Its relays read on.
SET LOCAL lock_timeout = '50ms';
LOCK TABLE outbox IN SHARE ROW EXCLUSIVE MODE
