-- Code in the database: functions, operators, triggers, rules, views.
CREATE FUNCTION overloaded() RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT 'none'$$;
CREATE FUNCTION overloaded(integer) RETURNS text LANGUAGE sql AS 'SELECT ''one''';
CREATE FUNCTION overloaded(integer, text DEFAULT 'a''b' COLLATE "C", VARIADIC integer[] DEFAULT '{1,2}') RETURNS text
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER COST 7 PARALLEL RESTRICTED SET search_path TO 'zoo', "odd "" schema" SET work_mem = '5MB'
    AS $function$ BEGIN RETURN $_$ two $$ three $_$ || E'\\'; END $function$;
CREATE FUNCTION overloaded("what; of" mood, OUT one integer, OUT "two ""2""" text) LANGUAGE sql STABLE LEAKPROOF
    BEGIN ATOMIC
        SELECT 1, "what; of"::text || ';';
    END;
CREATE FUNCTION rows_of(anyarray) RETURNS TABLE (item anyelement, place bigint) LANGUAGE sql ROWS 5 PARALLEL SAFE
    AS 'SELECT * FROM unnest($1) WITH ORDINALITY';
CREATE FUNCTION my_row_number() RETURNS bigint LANGUAGE internal WINDOW IMMUTABLE AS 'window_row_number';
CREATE PROCEDURE in_batches(INOUT done integer DEFAULT 0) LANGUAGE plpgsql AS $$
BEGIN
    COMMIT;
    done := done + 1;
END
$$;
CREATE PROCEDURE in_batches(text) LANGUAGE sql BEGIN ATOMIC DELETE FROM empty_table WHERE note = $1; END;
COMMENT ON FUNCTION overloaded(integer) IS 'one of several';
COMMENT ON PROCEDURE in_batches(text) IS 'a procedure';
GRANT EXECUTE ON FUNCTION overloaded(integer) TO zoo_visitor;
REVOKE EXECUTE ON PROCEDURE in_batches(text) FROM PUBLIC;

CREATE AGGREGATE longest(text) (SFUNC = text_larger, STYPE = text, PARALLEL = safe, COMBINEFUNC = text_larger, SORTOP = >);
CREATE AGGREGATE count_rows(*) (SFUNC = int8inc, STYPE = bigint, INITCOND = '0');
CREATE AGGREGATE pick(double precision ORDER BY anyelement)
    (SFUNC = ordered_set_transition, STYPE = internal, FINALFUNC = percentile_disc_final, FINALFUNC_EXTRA);
CREATE AGGREGATE moving(numeric) (SFUNC = numeric_add, STYPE = numeric, INITCOND = '0',
    MSFUNC = numeric_add, MINVFUNC = numeric_sub, MSTYPE = numeric, MINITCOND = '0');
COMMENT ON AGGREGATE longest(text) IS 'an aggregate';

CREATE FUNCTION mood_far(mood, mood) RETURNS boolean LANGUAGE sql IMMUTABLE RETURN $1::text <> $2::text;
CREATE OPERATOR <~> (FUNCTION = mood_far, LEFTARG = mood, RIGHTARG = mood, COMMUTATOR = <~>, RESTRICT = neqsel, JOIN = neqjoinsel);
CREATE OPERATOR !!! (FUNCTION = upper, RIGHTARG = text);
COMMENT ON OPERATOR <~> (mood, mood) IS 'an operator';
CREATE OPERATOR FAMILY backwards USING btree;
CREATE OPERATOR CLASS int4_backwards FOR TYPE integer USING btree FAMILY backwards AS
    OPERATOR 1 > (integer, integer), OPERATOR 2 >= (integer, integer), OPERATOR 3 =, OPERATOR 4 <=, OPERATOR 5 <,
    FUNCTION 1 btint4cmp(integer, integer);
COMMENT ON OPERATOR CLASS int4_backwards USING btree IS 'an operator class';
COMMENT ON OPERATOR FAMILY backwards USING btree IS 'an operator family';
CREATE FUNCTION label_of(place) RETURNS text LANGUAGE sql IMMUTABLE RETURN ($1).label;
CREATE CAST (place AS text) WITH FUNCTION label_of(place) AS ASSIGNMENT;
CREATE CAST (tag AS text) WITHOUT FUNCTION;
COMMENT ON CAST (place AS text) IS 'a cast';

-- The language has its own functions: pg_dump considers a language with the system's functions part
-- of an extension.
CREATE FUNCTION plzoo_call() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';
CREATE FUNCTION plzoo_inline(internal) RETURNS void LANGUAGE c STRICT AS '$libdir/plpgsql', 'plpgsql_inline_handler';
CREATE FUNCTION plzoo_check(oid) RETURNS void LANGUAGE c STRICT AS '$libdir/plpgsql', 'plpgsql_validator';
CREATE TRUSTED LANGUAGE plzoo HANDLER plzoo_call INLINE plzoo_inline VALIDATOR plzoo_check;
CREATE FUNCTION in_plzoo() RETURNS integer LANGUAGE plzoo AS 'BEGIN RETURN 1; END';
COMMENT ON LANGUAGE plzoo IS 'a language';
CREATE ACCESS METHOD zoo_heap TYPE TABLE HANDLER heap_tableam_handler;
CREATE TABLE in_zoo_heap (id integer) USING zoo_heap;
INSERT INTO in_zoo_heap VALUES (1);
COMMENT ON ACCESS METHOD zoo_heap IS 'an access method';
CREATE COLLATION zoo_c (PROVIDER = libc, LOCALE = 'C');
CREATE COLLATION zoo_copy FROM zoo_c;
COMMENT ON COLLATION zoo_c IS 'a collation';
CREATE CONVERSION zoo_conversion FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
COMMENT ON CONVERSION zoo_conversion IS 'a conversion';

CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN coalesce(NEW, OLD); END $$;
CREATE TRIGGER one BEFORE INSERT OR UPDATE OF name, boss ON keeper FOR EACH ROW
    WHEN (NEW.wage > 1) EXECUTE FUNCTION note_change('a''b', '\.');
CREATE TRIGGER "two; 2" AFTER DELETE ON keeper REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION note_change();
CREATE CONSTRAINT TRIGGER three AFTER INSERT ON keeper DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note_change();
CREATE TRIGGER four AFTER INSERT ON by_range FOR EACH ROW EXECUTE FUNCTION note_change();
ALTER TABLE keeper DISABLE TRIGGER one, ENABLE ALWAYS TRIGGER three;
ALTER TABLE by_range_first DISABLE TRIGGER four;
COMMENT ON TRIGGER one ON keeper IS 'a trigger';
CREATE FUNCTION note_command() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;
CREATE EVENT TRIGGER on_create ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'CREATE INDEX') EXECUTE FUNCTION note_command();
CREATE EVENT TRIGGER on_drop ON sql_drop EXECUTE FUNCTION note_command();
ALTER EVENT TRIGGER on_drop DISABLE;
ALTER EVENT TRIGGER on_create ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER on_drop IS 'an event trigger';

CREATE VIEW keeper_view (number, "the name") WITH (security_barrier, check_option = cascaded) AS SELECT id, name FROM keeper WHERE id > 0;
ALTER VIEW keeper_view ALTER number SET DEFAULT 3;
-- The view is valid only with the primary key, so a dump must create it late. Another view depends
-- on it.
CREATE VIEW by_key AS SELECT hen.id, hen.egg, count(egg.id) AS eggs FROM hen LEFT JOIN egg ON egg.hen = hen.id GROUP BY hen.id;
CREATE VIEW on_by_key AS SELECT * FROM by_key WHERE eggs > 0;
CREATE RECURSIVE VIEW one_to_ten (n) AS SELECT 1 UNION ALL SELECT n + 1 FROM one_to_ten WHERE n < 10;
CREATE MATERIALIZED VIEW with_data AS SELECT n, n * n AS square FROM one_to_ten;
CREATE MATERIALIZED VIEW on_with_data WITH (fillfactor = 50) AS SELECT sum(square) FROM with_data;
CREATE MATERIALIZED VIEW without_data AS SELECT * FROM keeper WITH NO DATA;
CREATE UNIQUE INDEX with_data_n ON with_data (n);
COMMENT ON VIEW keeper_view IS 'a view';
COMMENT ON MATERIALIZED VIEW with_data IS 'a materialized view';
CREATE RULE twice AS ON INSERT TO keeper_view DO ALSO SELECT 'and; so on';
CREATE RULE keep AS ON DELETE TO egg WHERE OLD.id = 1 DO INSTEAD NOTHING;
ALTER TABLE egg DISABLE RULE keep;
COMMENT ON RULE keep ON egg IS 'a rule';

ALTER TABLE keeper ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY look ON keeper FOR SELECT TO zoo_guide, zoo_visitor USING (name <> 'Eve');
CREATE POLICY "hire; fire" ON keeper AS RESTRICTIVE USING (wage < 100) WITH CHECK (name !~ '''');
COMMENT ON POLICY look ON keeper IS 'a policy';
ALTER TABLE animal OWNER TO zoo_keeper;
ALTER FUNCTION overloaded() OWNER TO zoo_keeper;
ALTER VIEW keeper_view OWNER TO zoo_keeper;
