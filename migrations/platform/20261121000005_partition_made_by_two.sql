-- Two who make the same day, as two migrations do that are started together: the second finds it made.
CREATE OR REPLACE FUNCTION partition_make(parent text, day date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  part     text := partition_of(parent, day);
  rest     text := parent || '_default';
  low      uuid := uuid_at(day::timestamp AT TIME ZONE 'UTC');
  high     uuid := uuid_at((day + 1)::timestamp AT TIME ZONE 'UTC');
  options  text := (SELECT array_to_string(reloptions, ', ') FROM pg_class WHERE oid = rest::regclass);
  strays   bigint;
BEGIN
  IF to_regclass(part) IS NOT NULL THEN
    RETURN true;
  END IF;
  -- ATTACH needs the default partition for itself, for the moment in which it looks for strays
  EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', rest);
  IF to_regclass(part) IS NOT NULL THEN
    RETURN true; -- whoever had the lock has made it
  END IF;
  EXECUTE format('SELECT count(*) FROM (SELECT FROM %I WHERE saga_id >= $1 AND saga_id < $2 LIMIT 10001) s', rest)
    INTO strays USING low, high;
  IF strays > 10000 THEN
    RETURN false; -- too many to be moved while others wait: they stay where they are
  END IF;
  EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES) %s',
                 part, parent, CASE WHEN options IS NULL THEN '' ELSE 'WITH (' || options || ')' END);
  EXECUTE format('WITH moved AS (DELETE FROM %I WHERE saga_id >= $1 AND saga_id < $2 RETURNING *)
                  INSERT INTO %I SELECT * FROM moved', rest, part) USING low, high;
  EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, part, low, high);
  RETURN true;
END
$$;
