-- A small database that covers the variants of archives: many short rows, rows longer than a page,
-- empty and tiny tables, tables without columns, two tables of one shape, large objects of several
-- owners.
CREATE ROLE archivist;
CREATE SCHEMA bank;
CREATE TABLE bank.account (id integer PRIMARY KEY, holder text NOT NULL, balance numeric(12,2), note text);
INSERT INTO bank.account
SELECT i, 'Müller & ' || md5(i::text), i * 1.07, CASE WHEN i % 3 = 0 THEN E'tab\tand\\' || i END
  FROM generate_series(1, 3000) i;
-- Text that compresses badly, longer than one chunk of any compression.
CREATE TABLE bank.document (id integer PRIMARY KEY, body text NOT NULL);
INSERT INTO bank.document
SELECT i, (SELECT string_agg(translate(encode(sha512((i || ':' || j)::bytea), 'base64'), E'\n=', ''), ' ')
             FROM generate_series(1, 100) j)
  FROM generate_series(1, 40) i;
CREATE TABLE bank.empty (id integer, nothing text);
CREATE TABLE bank.share_2 (id integer, holder text);
INSERT INTO bank.share_2 SELECT i, md5('share ' || i) FROM generate_series(1, 1200) i;
CREATE TABLE bank.share_3 (id integer, holder text);
INSERT INTO bank.share_3 SELECT i, md5('another ' || i) FROM generate_series(1, 1200) i;
CREATE TABLE bank.no_columns ();
INSERT INTO bank.no_columns DEFAULT VALUES;
CREATE TABLE bank.tiny (id integer, word text);
INSERT INTO bank.tiny VALUES (1, 'one'), (2, NULL), (3, 'drei');
CREATE VIEW bank.poor AS SELECT holder FROM bank.account WHERE balance < 100;

-- Large objects: one of many chunks, one empty, some in between. Since PostgreSQL 17, those of
-- another owner are stored separately.
SELECT lo_from_bytea(50000 + i, (SELECT string_agg(sha512((i || '/' || j)::bytea), '') FROM generate_series(1, 3 * i * i) j))
  FROM generate_series(1, 10) i \g /dev/null
SELECT lo_from_bytea(50100, '') \g /dev/null
SELECT lo_from_bytea(50100 + i, sha512(i::text::bytea)) FROM generate_series(1, 3) i \g /dev/null
ALTER LARGE OBJECT 50101 OWNER TO archivist;
ALTER LARGE OBJECT 50102 OWNER TO archivist;
ANALYZE;
