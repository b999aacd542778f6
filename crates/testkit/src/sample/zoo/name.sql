-- Unusual names that real databases have: of roles, schemas, tables, columns and functions.
DO $do$
DECLARE
    names text[] := ARRAY[
        'select', 'SELECT', 'user', 'table', '"', '""', '"quoted"', '''', 'it''s', '`id`', ' ', ' leading', 'trailing ', 'two  spaces',
        E'new\nline', E'carriage\rreturn', E'\n', E'tab\there', '\', 'back\slash', 'trailing\', '\.', '\N', '%', '100%s%n', 'a%2Fb', '$HOME',
        '$1', '$$', '-', '--', '-dash', '--help', '-- comment', '/*', '*/', 'dot.', '.', '..', 'a.b', '"a"."b"', '/', '../../etc', 'C:\con',
        'a,b', ';', 'a;b', '; DROP TABLE x; --', '(parens)', ')', '[a]', '{a}', '*', '?', '[a-z]*', '~', '#', '!', '&', '|', '<>', '=', ':a', '@',
        E'\x01', E'\x7f', 'ünï çödé', 'Ünï', 'ı', '漢字', '🚢', U&'e\0301', U&'\00E9', U&'\200B', U&'\202Eright', 'עברית', '0', '123', 'null', 'NaN',
        'public.x', 'PG_like', repeat('x', 63), repeat('ä', 31) || 'b', repeat('"', 63)
    ];
    odd text;
BEGIN
    FOREACH odd IN ARRAY names LOOP
        EXECUTE format('CREATE ROLE %I', odd);
        EXECUTE format('CREATE SCHEMA %I AUTHORIZATION %I', odd, odd);
        EXECUTE format('CREATE TABLE %I.%I (id serial PRIMARY KEY, %I text DEFAULT %L)', odd, odd, odd, odd);
        EXECUTE format('INSERT INTO %I.%I (%I) VALUES (DEFAULT), (NULL)', odd, odd, odd);
        EXECUTE format('CREATE TABLE %I.twin (name text)', odd);
        EXECUTE format('INSERT INTO %I.twin VALUES (%L)', odd, odd);
        EXECUTE format('CREATE TABLE zoo.%I (%I integer, CONSTRAINT %I CHECK (%I > 0))',
                       odd || left(' 2', 63 - octet_length(odd)), odd, odd, odd);
        EXECUTE format('CREATE INDEX %I ON %I.twin (name)', left(odd, 30) || ' i', odd);
        EXECUTE format('CREATE FUNCTION %I.%I(%I integer) RETURNS integer LANGUAGE sql RETURN 1', odd, odd, odd);
        EXECUTE format('COMMENT ON TABLE %I.%I IS %L', odd, odd, odd);
        EXECUTE format('ALTER TABLE %I.%I OWNER TO %I', odd, odd, odd);
        EXECUTE format('GRANT SELECT ON %I.twin TO %I', odd, odd);
    END LOOP;
END
$do$;
CREATE TABLE annex.keeper (keeper integer, "Keeper" text);
INSERT INTO annex.keeper VALUES (1, 'of another schema');
CREATE TABLE public.keeper ();
GRANT zoo_visitor TO "select", "-dash", "it's" WITH ADMIN OPTION;
ALTER ROLE "--help" SET search_path = '"', 'a b', '$user';
COMMENT ON ROLE "-- comment" IS '-- comment';
RESET search_path;
