-- Tables that grow with every saga are partitioned by the day of the saga's id and dropped by day.
CREATE TABLE retention (
  parent text        PRIMARY KEY,
  keep   interval    NOT NULL DEFAULT '30 days' CHECK (keep >= '2 days'),
  after  text,
  oldest timestamptz NOT NULL DEFAULT '-infinity'
);
COMMENT ON TABLE  retention IS 'The tables that are partitioned by day, and how long their days are kept';
COMMENT ON COLUMN retention.parent IS 'The partitioned table; its key begins with saga_id, a UUIDv7';
COMMENT ON COLUMN retention.keep IS 'How long; more than the retention of the topics and the longest saga together';
COMMENT ON COLUMN retention.after IS 'A day is kept, however old, while this table has a row with an id of that day';
COMMENT ON COLUMN retention.oldest IS 'Days before that were dropped: what belongs to them is refused';
INSERT INTO retention (parent) VALUES ('saga_guard');

CREATE FUNCTION uuid_at(at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
  SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;
COMMENT ON FUNCTION uuid_at IS 'The lowest UUID of that millisecond: no UUIDv7 drawn then, or later, is below it';

CREATE FUNCTION partition_of(parent text, day date) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT parent || to_char(day, '_YYYYMMDD')
$$;
COMMENT ON FUNCTION partition_of IS 'The name of the partition of a day';

CREATE FUNCTION partition_make(parent text, day date) RETURNS boolean LANGUAGE plpgsql AS $$
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
COMMENT ON FUNCTION partition_make IS 'Makes the partition of a day, unless it is there, and moves into it what had gone to the default partition; false: that is too much';

CREATE FUNCTION partition_drop_oldest(wanted text) RETURNS date LANGUAGE plpgsql AS $$
DECLARE
  rule   retention := (SELECT r FROM retention r WHERE r.parent = wanted);
  day    date;
  in_use boolean := false;
BEGIN
  FOR day IN
    SELECT to_date(right(c.relname, 8), 'YYYYMMDD') AS of_day
      FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
     WHERE i.inhparent = wanted::regclass AND c.relname ~ '_[0-9]{8}$'
     ORDER BY of_day
  LOOP
    -- a day more than is kept: clocks differ, and no reader may still find the day
    EXIT WHEN (day + 2)::timestamp AT TIME ZONE 'UTC' > now() - rule.keep;
    IF rule.after IS NOT NULL THEN
      EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE id >= $1 AND id < $2)', rule.after)
        INTO in_use
       USING uuid_at(day::timestamp AT TIME ZONE 'UTC'), uuid_at((day + 1)::timestamp AT TIME ZONE 'UTC');
    END IF;
    IF NOT in_use THEN
      EXECUTE format('DROP TABLE %I', partition_of(wanted, day));
      UPDATE retention SET oldest = greatest(oldest, (day + 1)::timestamp AT TIME ZONE 'UTC')
       WHERE parent = wanted;
      RETURN day;
    END IF;
  END LOOP;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION partition_drop_oldest IS 'Drops the oldest day that is not kept, and says which; null when there is none';

CREATE FUNCTION partition_has_strays(parent text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
DECLARE
  found_one boolean;
BEGIN
  EXECUTE format('SELECT EXISTS (SELECT FROM %I)', parent || '_default') INTO found_one;
  RETURN found_one;
END
$$;
COMMENT ON FUNCTION partition_has_strays IS 'Whether rows have no day of their own: the default partition is a safety net, and should be empty';
