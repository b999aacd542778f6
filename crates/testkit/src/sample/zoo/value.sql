-- Values at the limits of their types. Dollar quotes keep psql from interpreting the content.
INSERT INTO value (id, a_small) VALUES (0, 1);
INSERT INTO value VALUES (
    1, true, -32768, -9223372036854775808, 'NaN', '-Infinity', 'NaN', 0.1, 12345, '-92233720368547758.08',
    'ab', '\377', 'eight: 8', 'a name', $$\.$$, '\x00', '-infinity', '24:00', '00:00+15:59:59', '-infinity', 'infinity',
    '-178000000 years -3 mons +4 days -05:06:07.000008', '-1 year 1 month', '00000000-0000-0000-0000-000000000000',
    '{"a": 1,   "a": 2, "nul": "\u0000"}', '{"b": [1.0, 1e400, null, "\"\\\t"]}', 'strict $."a b"[*] ? (@ > 1)',
    '::ffff:1.2.3.4/120', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:ff:fe:01:02:03', b'101', '',
    '(NaN,-Infinity)', '{1,-1,0}', '[(0,0),(1e300,1)]', '(1,1),(0,0)', '[(0,0),(1,1)]', '((0,0),(1,1),(2,0))', '<(0,0),0>',
    $$'it''s':1A,3 'back\\slash' ' ':2$$, $$'a' & !('b' <-> 'c':*AB)$$, '(,)', '{[1,2),(3.5,]}',
    '{["2000-01-01 00:00+00",infinity]}', '[NaN,NaN]', '{(-Infinity,0),[1e-300,2]}', '["a,b","c\"d")',
    'zoo.value', 'zoo.mood[]', 4294967295, '(4294967295,65535)', 'FFFFFFFF/FFFFFFFF', '10:20:10,14,15',
    '', ARRAY[NULL, '', E'new\nline', '\.']::mood[], ROW('', NULL, ARRAY['', NULL, 'NULL', '{}', '"', '\'])::place,
    ROW(ROW('(")', '(1,2)', '{}'), ARRAY[NULL, ROW(NULL, NULL, NULL)]::place[], '\.')::nested, ROW()::no_fields,
    99, ROW('allowed', NULL, NULL)::place, '{}', $$\N$$, '[-1:0][5:6]={{1,2},{3,NULL}}', '[0:2]={a,"b c",NULL}'
);
INSERT INTO value (id, a_small, a_real, a_double, a_numeric, a_date, a_timestamp, an_interval, a_varbit, a_bytea) VALUES
    (2, 1, '-0', '4.9e-324', 'Infinity', '4714-11-24 BC', '4714-11-24 00:00 BC', '1 day -1 microsecond', repeat('10', 35)::varbit, ''),
    (3, 1, '3.4028235e38', '1.7976931348623157e308', '-Infinity', '5874897-12-31', '294276-12-31 23:59:59.999999',
     '15 mons -16 days 17:18:19.2', '0', decode(repeat('00ff5c0a', 300), 'hex')),
    (4, 1, '1e-45', '0.1', ('-' || repeat('9', 131072) || '.' || repeat('7', 16383))::numeric, 'infinity', 'infinity', '0', '1', NULL);

-- Every text that a dump must escape, and every byte.
CREATE TABLE text_zoo (id integer GENERATED ALWAYS AS IDENTITY, about text NOT NULL, value text, "value again" varchar);
INSERT INTO text_zoo (about, value)
SELECT 'character ' || code, 'a' || chr(code) || 'b' FROM generate_series(1, 255) code;
INSERT INTO text_zoo (about, value) VALUES
    ('nothing', NULL), ('empty', ''), ('space', ' '), ('backslash', '\'), ('two backslashes', '\\'), ('an end of data', '\.'),
    ('an end of data in a line of its own', E'before\n\\.\nafter'), ('a NULL that is none', '\N'), ('a word', 'NULL'),
    ('escapes that are none', $$\b\f\n\r\t\v\1\x01\u0001\$$), ('tab', E'\t'), ('newline', E'\n'), ('carriage return', E'\r'),
    ('both', E'\r\n'), ('vertical tab', E'\v'), ('form feed', E'\f'), ('backspace', E'\b'), ('one', E'\x01'), ('delete', E'\x7f'),
    ('next line', U&'\0085'), ('line separator', U&'\2028'), ('no-break space', U&'\00A0'), ('byte order mark', U&'\FEFF'),
    ('beyond the basic plane', '🚢🇩🇪👩‍👩‍👧'), ('the last character', U&'\+10FFFF'), ('not a character', U&'\FFFF'),
    ('composed and not', U&'\00E9 e\0301'), ('right to left', 'עברית العربية'), ('quotes', $$'"`''""$$), ('dollars', '$$ $_$ $1'),
    ('comments', '-- /* */ --'), ('a command', E'\n\\! echo no\n\\q\n'), ('a statement', '''; DROP SCHEMA zoo CASCADE; --'),
    ('variables', ':name :''name'' :"name" %s %n $HOME `id`'), ('a copy', E'COPY zoo.text_zoo FROM stdin;\n1\n\\.\n'),
    ('trailing white space', E'x \t\n'), ('commas and semicolons', ',;|'), ('long', repeat('0123456789abcdef', 5000));
UPDATE text_zoo SET "value again" = value;
CREATE TABLE byte_zoo (id integer PRIMARY KEY, value bytea NOT NULL);
INSERT INTO byte_zoo SELECT byte, set_byte('\x5c00', 1, byte) FROM generate_series(0, 255) byte;
