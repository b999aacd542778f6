-- Rows of maximum width: 1600 columns, a value of some megabytes.
SELECT format('CREATE TABLE widest (%s)', string_agg(format('c%s %s', i, CASE i % 3 WHEN 0 THEN 'boolean' ELSE 'smallint' END), ', ' ORDER BY i))
  FROM generate_series(1, 1600) i \gexec
SELECT format('INSERT INTO widest VALUES (%s)', string_agg(format('%s', CASE i % 3 WHEN 0 THEN 'true' ELSE i::text END), ', ' ORDER BY i))
  FROM generate_series(1, 1600) i \gexec
INSERT INTO widest DEFAULT VALUES;
INSERT INTO widest (c1600) VALUES (-1);
CREATE TABLE longest_row (id integer, compresses text, does_not text);
INSERT INTO longest_row VALUES
    (1, repeat(E'the same line again\n', 100000), (SELECT string_agg(md5(i::text), E'\t') FROM generate_series(1, 60000) i)), (2, '', NULL);
