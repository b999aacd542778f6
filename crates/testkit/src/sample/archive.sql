-- Documents: large objects, long values, text search, trees. :rows documents.
CREATE TEXT SEARCH CONFIGURATION plain_german (COPY = german);
ALTER TEXT SEARCH CONFIGURATION plain_german ALTER MAPPING FOR word WITH simple;
CREATE FUNCTION document_words(text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT to_tsvector('english'::regconfig, $1);
    END;

CREATE TABLE folder (id serial PRIMARY KEY, parent integer REFERENCES folder, name text NOT NULL, UNIQUE (parent, name));
INSERT INTO folder (parent, name) VALUES (NULL, '/');
INSERT INTO folder (parent, name) SELECT 1 + (i - 1) / 3, 'folder ' || i FROM generate_series(1, 30) i;

CREATE TABLE document (
    id       uuid PRIMARY KEY,
    folder   integer NOT NULL REFERENCES folder ON DELETE RESTRICT,
    body     text NOT NULL,
    scan     oid UNIQUE,
    meta     jsonb NOT NULL,
    device   macaddr,
    took     interval
);
ALTER TABLE document ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX document_body ON document USING gin (document_words(body));
CREATE INDEX document_meta ON document USING gin (meta jsonb_path_ops);
INSERT INTO document
SELECT md5('document ' || i)::uuid, 1 + i % 31, repeat(md5(i::text) || ' Straße ', 1 + i * 7919 % CASE i % 20 WHEN 0 THEN 400 ELSE 20 END),
       CASE WHEN i % 10 = 0 THEN 700000 + i END,
       jsonb_build_object('pages', i % 50, 'key', jsonb_build_array(md5(i::text))), '08:00:2b:01:02:03'::macaddr, i * interval '1 day 2 hours'
  FROM generate_series(1, :rows) i;

-- Bytes that compress badly, from one byte to some pages of 2 kB.
SELECT count(lo_from_bytea(scan, decode((SELECT string_agg(md5(scan::text || j), '') FROM generate_series(1, 1 + scan::bigint % 997) j), 'hex')))
  FROM document WHERE scan IS NOT NULL \g /dev/null
SELECT lo_from_bytea(800001, '') \g /dev/null
COMMENT ON LARGE OBJECT 800001 IS 'empty, and still there';
ALTER LARGE OBJECT 800001 OWNER TO shop_owner;
GRANT SELECT ON LARGE OBJECT 800001 TO shop_reader;

CREATE VIEW folder_path AS WITH RECURSIVE path AS (
    SELECT id, name FROM folder WHERE parent IS NULL
    UNION ALL
    SELECT folder.id, path.name || '/' || folder.name FROM folder JOIN path ON folder.parent = path.id
) SELECT * FROM path;
SELECT setval('folder_id_seq', 4711, false) \g /dev/null
ANALYZE;
