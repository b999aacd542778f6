-- Types, and a table with a column of each type.
CREATE TYPE mood AS ENUM ('', 'it''s fine', 'back\slash', E'new\nline', '"quoted"', '\.');
ALTER TYPE mood ADD VALUE 'between' BEFORE 'back\slash';
CREATE TYPE place AS (label text, at point, tags text[]);
CREATE TYPE no_fields AS ();
CREATE TYPE nested AS (here place, others place[], mood mood);
CREATE DOMAIN positive AS integer CONSTRAINT above_zero CHECK (VALUE > 0);
CREATE DOMAIN small AS positive DEFAULT 7 NOT NULL CHECK (VALUE < 100) CHECK (VALUE <> 13);
CREATE DOMAIN labelled AS place CHECK ((VALUE).label <> 'forbidden');
CREATE DOMAIN words AS text[] CHECK (cardinality(VALUE) < 10);
CREATE DOMAIN no_case AS text COLLATE "C";
ALTER DOMAIN no_case ADD CONSTRAINT lower_case CHECK (VALUE = lower(VALUE)) NOT VALID;
COMMENT ON DOMAIN positive IS 'a domain';
COMMENT ON CONSTRAINT above_zero ON DOMAIN positive IS 'a domain''s constraint';
COMMENT ON TYPE place IS 'a composite type';
COMMENT ON COLUMN place.tags IS 'a column of a composite type';
COMMENT ON TYPE mood IS 'an enum';

CREATE FUNCTION span(double precision, double precision) RETURNS double precision
    LANGUAGE sql IMMUTABLE STRICT RETURN $1 - $2;
CREATE TYPE float_span AS RANGE (SUBTYPE = double precision, SUBTYPE_DIFF = span, MULTIRANGE_TYPE_NAME = float_spans);
CREATE TYPE word_span AS RANGE (SUBTYPE = text, COLLATION = "C");
REVOKE USAGE ON TYPE float_span FROM PUBLIC;
GRANT USAGE ON TYPE float_span TO zoo_visitor;

-- A type defined in steps: a shell type, its functions, then the type itself.
CREATE TYPE tag;
CREATE FUNCTION tag_in(cstring) RETURNS tag LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION tag_out(tag) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE tag (INPUT = tag_in, OUTPUT = tag_out, LIKE = text, CATEGORY = 'S', DELIMITER = ';', DEFAULT = 'no;tag');
CREATE TYPE never_finished;

CREATE TABLE value (
    id            integer PRIMARY KEY,
    a_boolean     boolean,
    a_smallint    smallint,
    a_bigint      bigint,
    a_real        real,
    a_double      double precision,
    a_numeric     numeric,
    a_scaled      numeric(1000, 500),
    a_rounded     numeric(3, -2),
    a_money       money,
    a_char        char(5),
    a_byte        "char",
    a_varchar     varchar(8),
    a_name        name,
    a_text        text,
    a_bytea       bytea,
    a_date        date,
    a_time        time(3),
    a_timetz      timetz,
    a_timestamp   timestamp,
    a_timestamptz timestamptz(0),
    an_interval   interval,
    months        interval year to month,
    a_uuid        uuid,
    a_json        json,
    a_jsonb       jsonb,
    a_path        jsonpath,
    an_inet       inet,
    a_cidr        cidr,
    a_macaddr     macaddr,
    a_macaddr8    macaddr8,
    a_bit         bit(3),
    a_varbit      bit varying(70),
    a_point       point,
    a_line        line,
    a_lseg        lseg,
    a_box         box,
    a_figure      path,
    a_polygon     polygon,
    a_circle      circle,
    a_tsvector    tsvector,
    a_tsquery     tsquery,
    a_range       int4range,
    a_multirange  nummultirange,
    times         tstzmultirange,
    a_float_span  float_span,
    float_spans   float_spans,
    a_word_span   word_span,
    a_regclass    regclass,
    a_regtype     regtype,
    an_oid        oid,
    a_tid         tid,
    a_pg_lsn      pg_lsn,
    a_snapshot    pg_snapshot,
    a_mood        mood,
    moods         mood[],
    a_place       place,
    a_nested      nested,
    no_fields     no_fields,
    a_small       small,
    a_labelled    labelled,
    some_words    words,
    a_tag         tag,
    matrix        integer[3][],
    shifted       text[]
);
