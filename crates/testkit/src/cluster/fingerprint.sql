-- Prints a line for each property that a copy must have. Settings of the database that affect the
-- text of values are reset first.
SET search_path = pg_catalog;
SET timezone = 'UTC';
SET datestyle = 'ISO, MDY';
SET intervalstyle = 'postgres';
SET bytea_output = 'hex';
SET extra_float_digits = 1;
SET lc_monetary = 'C';
SET row_security = off;

SELECT 'database', pg_encoding_to_char(encoding), datcollate, datctype, datconnlimit, pg_get_userbyid(datdba),
       shobj_description(oid, 'pg_database')
  FROM pg_database WHERE datname = current_database();

SELECT 'database setting', coalesce(nullif(setrole, 0)::regrole::text, 'everybody'), setting
  FROM pg_db_role_setting, unnest(setconfig) setting
 WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
 ORDER BY 2, 3;

SELECT 'database grant', coalesce(nullif(grantee, 0)::regrole::text, 'everybody'), privilege_type, is_grantable
  FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba)))
 WHERE datname = current_database()
 ORDER BY 2, 3, 4;

-- The alias must not be a column name: `t::text` is a column if the table has a column t.
SELECT format($$SELECT 'rows', %L, count(*), md5(coalesce(string_agg(md5((whole_row.*)::text), '' ORDER BY md5((whole_row.*)::text)), ''))
                  FROM ONLY %s AS whole_row$$, c.oid::regclass, c.oid::regclass)
  FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
 WHERE relkind IN ('r', 'm') AND relispopulated AND nspname <> 'information_schema' AND nspname !~ '^pg_'
 ORDER BY nspname COLLATE "C", relname COLLATE "C" \gexec

SELECT 'unpopulated', c.oid::regclass
  FROM pg_class c WHERE relkind = 'm' AND NOT relispopulated ORDER BY c.oid::regclass::text COLLATE "C";

SELECT format($$SELECT 'sequence', %L, last_value, is_called FROM %s$$, c.oid::regclass, c.oid::regclass)
  FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
 WHERE relkind = 'S'
 ORDER BY nspname COLLATE "C", relname COLLATE "C" \gexec

SELECT 'large object', oid, md5(lo_get(oid)), pg_get_userbyid(lomowner), obj_description(oid, 'pg_largeobject'),
       (SELECT string_agg(grantee::regrole || ':' || privilege_type, ',' ORDER BY grantee::regrole::text, privilege_type)
          FROM aclexplode(lomacl))
  FROM pg_largeobject_metadata ORDER BY oid;
