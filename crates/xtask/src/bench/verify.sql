-- Rows of many widths and types, in proportion to :scale, equal in every run.
SELECT setseed(0.5) \g /dev/null
CREATE TABLE docs AS
    SELECT id, repeat(md5(id::text), 25) AS body FROM generate_series(1, :scale * 17500) AS id;
CREATE TABLE events AS
    SELECT id,
           md5(id::text)::uuid AS key,
           jsonb_build_object('id', id, 'name', md5((id * 7)::text), 'tags', jsonb_build_array(id % 7, id % 11)) AS body,
           (random() * 1000)::numeric(12, 4) AS amount,
           CASE WHEN id % 3 > 0 THEN E'a line\n\tand another of ' || id END AS note
    FROM generate_series(1, :scale * 45000) AS id;
CREATE TABLE files AS
    SELECT id, decode(repeat(md5(id::text), 625), 'hex') AS content FROM generate_series(1, :scale * 100) AS id;
SELECT count(lo_from_bytea(0, decode(repeat(md5(id::text), 4700), 'hex'))) FROM generate_series(1, :scale * 12) AS id \g /dev/null
VACUUM ANALYZE;
