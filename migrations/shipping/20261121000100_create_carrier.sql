-- Who delivers where.
CREATE TABLE carrier (
  country text   PRIMARY KEY CHECK (country ~ '^[A-Z]{2}$'),
  name    text   NOT NULL,
  version bigint NOT NULL DEFAULT 1 CHECK (version > 0)
);
COMMENT ON TABLE  carrier IS 'One carrier a country; a country without one gets no parcel';
COMMENT ON COLUMN carrier.country IS 'ISO 3166-1 alpha-2';
COMMENT ON COLUMN carrier.name IS 'Name of the carrier';
COMMENT ON COLUMN carrier.version IS 'Raised whenever the carrier of the country changes: who saw another version saw another carrier';
INSERT INTO carrier (country, name) VALUES
  ('AT', 'Alpenpost'),
  ('BE', 'Noordzee Express'),
  ('CH', 'Alpenpost'),
  ('CZ', 'Elbe Kurier'),
  ('DE', 'Elbe Kurier'),
  ('DK', 'Noordzee Express'),
  ('ES', 'Correo Meseta'),
  ('FI', 'Baltic Parcel'),
  ('FR', 'Poste Loire'),
  ('GB', 'Albion Mail'),
  ('IE', 'Albion Mail'),
  ('IT', 'Posta Adriatica'),
  ('LU', 'Poste Loire'),
  ('NL', 'Noordzee Express'),
  ('PL', 'Baltic Parcel'),
  ('PT', 'Correo Meseta'),
  ('SE', 'Baltic Parcel'),
  ('US', 'Prairie Parcel');

-- A trigger, for carriers are changed by hand. From a sequence, so that a country which loses its
-- carrier and gets another one never shows a version twice.
CREATE SEQUENCE carrier_version START 2;
COMMENT ON SEQUENCE carrier_version IS 'The next version of whatever carrier changes; those of the migration have version 1';
CREATE FUNCTION carrier_raise_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND (NEW.country, NEW.name) = (OLD.country, OLD.name) THEN
    NEW.version := OLD.version;
  ELSE
    NEW.version := nextval('carrier_version');
  END IF;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION carrier_raise_version IS 'Gives a new version to a carrier that is new or another one, and keeps it otherwise';
CREATE TRIGGER carrier_raise_version BEFORE INSERT OR UPDATE ON carrier
  FOR EACH ROW EXECUTE FUNCTION carrier_raise_version();
