-- Objects that connect the database to the outside: foreign data, publications, text search,
-- statistics, large objects.
CREATE FOREIGN DATA WRAPPER nobody OPTIONS (mode 'it''s a secret', "odd name" '\.');
CREATE SERVER nowhere TYPE 'none' VERSION '1;2' FOREIGN DATA WRAPPER nobody OPTIONS (host 'a b');
CREATE USER MAPPING FOR zoo_keeper SERVER nowhere OPTIONS (password 'secret''s');
CREATE USER MAPPING FOR PUBLIC SERVER nowhere;
CREATE FOREIGN TABLE far_away (id integer OPTIONS (column_name 'ID') NOT NULL, note text DEFAULT 'far', CHECK (id > 0))
    SERVER nowhere OPTIONS (path '/dev/null');
GRANT USAGE ON FOREIGN DATA WRAPPER nobody TO zoo_keeper;
GRANT USAGE ON FOREIGN SERVER nowhere TO zoo_visitor;
COMMENT ON FOREIGN DATA WRAPPER nobody IS 'a foreign data wrapper';
COMMENT ON SERVER nowhere IS 'a server';
COMMENT ON FOREIGN TABLE far_away IS 'a foreign table';

-- Creating a publication warns if wal_level is below logical, which does not matter here.
SET client_min_messages = error;
CREATE PUBLICATION everything FOR ALL TABLES WITH (publish = 'insert, truncate');
CREATE PUBLICATION some_tables FOR TABLE keeper (id, name), TABLE hen WHERE (id > 1);
CREATE PUBLICATION some_schemas FOR TABLES IN SCHEMA annex, TABLE animal;
CREATE PUBLICATION "none; yet" WITH (publish_via_partition_root);
COMMENT ON PUBLICATION some_tables IS 'a publication';
RESET client_min_messages;

CREATE TEXT SEARCH PARSER zoo_parser (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype);
CREATE TEXT SEARCH TEMPLATE zoo_template (INIT = dsimple_init, LEXIZE = dsimple_lexize);
CREATE TEXT SEARCH DICTIONARY zoo_dictionary (TEMPLATE = zoo_template, STOPWORDS = english, ACCEPT = false);
CREATE TEXT SEARCH DICTIONARY zoo_snowball (TEMPLATE = snowball, LANGUAGE = german);
CREATE TEXT SEARCH CONFIGURATION zoo_search (PARSER = zoo_parser);
ALTER TEXT SEARCH CONFIGURATION zoo_search ADD MAPPING FOR asciiword, word WITH zoo_snowball, zoo_dictionary, simple;
COMMENT ON TEXT SEARCH PARSER zoo_parser IS 'a parser';
COMMENT ON TEXT SEARCH TEMPLATE zoo_template IS 'a template';
COMMENT ON TEXT SEARCH DICTIONARY zoo_dictionary IS 'a dictionary';
COMMENT ON TEXT SEARCH CONFIGURATION zoo_search IS 'a configuration';

CREATE STATISTICS many (ndistinct, dependencies, mcv) ON kind, n FROM by_list;
CREATE STATISTICS annex.of_expressions ON (n % 2), lower(kind) FROM by_list_rest;
ALTER STATISTICS many SET STATISTICS 50;
COMMENT ON STATISTICS many IS 'statistics';

SELECT lo_from_bytea(1, '\x00'), lo_from_bytea(2, ''), lo_create(3), lo_from_bytea(4294967295, 'the last one') \g /dev/null
-- Some megabytes that compress badly, and a large object that consists of a hole.
SELECT lo_from_bytea(900001, decode((SELECT string_agg(md5(i::text), '') FROM generate_series(1, 200000) i), 'hex')) \g /dev/null
SELECT lo_from_bytea(900002, ''), lo_put(900002, 3000000, '\xff') \g /dev/null
SELECT count(lo_from_bytea(910000 + i, decode(md5(i::text), 'hex'))) FROM generate_series(1, 50) i \g /dev/null
COMMENT ON LARGE OBJECT 2 IS E'empty; and still there\n\\.';
ALTER LARGE OBJECT 2 OWNER TO zoo_keeper;
GRANT SELECT ON LARGE OBJECT 2, 900001 TO zoo_visitor;
GRANT UPDATE ON LARGE OBJECT 900001 TO PUBLIC;

COMMENT ON TABLE keeper IS E'two\nlines; "one" \\. ''table''';
COMMENT ON COLUMN keeper.name IS '';
COMMENT ON COLUMN keeper.wage IS 'a column';
COMMENT ON CONSTRAINT fair ON keeper IS 'a constraint';
COMMENT ON INDEX keeper_odd IS 'an index';
COMMENT ON SEQUENCE lonely IS 'a sequence';
COMMENT ON ROLE zoo_keeper IS E'a role\nin two lines';
GRANT SELECT (id, name), UPDATE (name) ON keeper TO zoo_visitor WITH GRANT OPTION;
GRANT ALL ON animal TO zoo_guide;
GRANT TRUNCATE, TRIGGER, REFERENCES ON value TO PUBLIC;
GRANT USAGE ON SEQUENCE lonely TO zoo_visitor;
GRANT USAGE ON LANGUAGE plzoo TO zoo_visitor;
