-- Measurements: :rows narrow rows, nested partitions, numbers at their limits.
ALTER DATABASE :"DBNAME" OWNER TO telemetry_owner;
SET ROLE telemetry_owner;
CREATE SCHEMA raw;

CREATE TYPE raw.kind AS ENUM ('temperature', 'pressure', 'vibration');
CREATE TABLE raw.sensor (id integer PRIMARY KEY, kind raw.kind NOT NULL, place point, network inet, active int4range);
ALTER TABLE raw.sensor ADD EXCLUDE USING gist (active WITH &&);
INSERT INTO raw.sensor
SELECT i, (enum_range(NULL::raw.kind))[1 + i % 3], point(i / 7.0, -i), ('10.0.0.' || i)::inet, int4range(i * 10, i * 10 + 10)
  FROM generate_series(1, 24) i;

CREATE TABLE raw.reading (
    sensor   integer NOT NULL REFERENCES raw.sensor,
    at       timestamptz NOT NULL,
    value    double precision,
    exact    numeric,
    flags    bit(8) NOT NULL DEFAULT b'00000000'
) PARTITION BY LIST (sensor);
CREATE TABLE raw.reading_low PARTITION OF raw.reading FOR VALUES IN (1, 2, 3, 4, 5, 6) PARTITION BY HASH (at);
CREATE TABLE raw.reading_low_even PARTITION OF raw.reading_low FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE raw.reading_low_odd PARTITION OF raw.reading_low FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE raw.reading_high PARTITION OF raw.reading DEFAULT;
CREATE INDEX reading_by_time ON raw.reading USING brin (at);

INSERT INTO raw.reading (sensor, at, value, exact, flags)
SELECT 1 + i % 24, timestamptz '2026-01-01 00:00+00' + i * interval '1 second', sin(i), i / 3.0, (i % 256)::bit(8)
  FROM generate_series(1, :rows) i;
INSERT INTO raw.reading (sensor, at, value, exact) VALUES
    (1, '-infinity', 'NaN', 'NaN'),
    (2, 'infinity', '-Infinity', 'Infinity'),
    (3, '4713-01-01 00:00+00 BC', 1.7976931348623157e308, 1e-500),
    (4, '294276-12-31 23:59:59+00', 5e-324, 99999999999999999999999999999999999999.5);
CREATE STATISTICS raw.reading_pairs (dependencies) ON sensor, flags FROM raw.reading_high;
CREATE VIEW raw.recent AS SELECT DISTINCT ON (sensor) * FROM raw.reading WHERE isfinite(at) ORDER BY sensor, at DESC;
RESET ROLE;
ANALYZE;
