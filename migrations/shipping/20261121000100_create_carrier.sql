-- Who delivers where.
CREATE TABLE carrier (
  country text PRIMARY KEY CHECK (country ~ '^[A-Z]{2}$'),
  name    text NOT NULL
);
COMMENT ON TABLE  carrier IS 'One carrier a country; a country without one gets no parcel';
COMMENT ON COLUMN carrier.country IS 'ISO 3166-1 alpha-2';
COMMENT ON COLUMN carrier.name IS 'Name of the carrier';
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
