-- Owners and privileges, and objects that other files of the zoo use.
--
-- Roles are created in the order of their names, like in a restore: a policy lists its roles by
-- age.
CREATE ROLE zoo_guide NOLOGIN;
CREATE ROLE zoo_keeper NOLOGIN;
CREATE ROLE zoo_visitor LOGIN PASSWORD 'one ticket' VALID UNTIL '2038-01-19 03:14:07+00';
GRANT zoo_visitor TO zoo_guide;
ALTER ROLE zoo_visitor SET search_path = '$user', zoo, "odd ""schema""";
GRANT SET ON PARAMETER log_min_duration_statement TO zoo_guide;

ALTER DATABASE :"DBNAME" SET default_text_search_config TO 'pg_catalog.german';
ALTER DATABASE :"DBNAME" SET search_path TO "$user", public, zoo;
ALTER ROLE zoo_visitor IN DATABASE :"DBNAME" SET datestyle TO 'German';
COMMENT ON DATABASE :"DBNAME" IS E'every kind of thing, at least once\n\\! echo this is no command\n-- ''nor'' this';
GRANT TEMPORARY, CONNECT ON DATABASE :"DBNAME" TO zoo_visitor WITH GRANT OPTION;
COMMENT ON EXTENSION plpgsql IS 'not what it was installed with';

CREATE SCHEMA zoo AUTHORIZATION zoo_keeper;
CREATE SCHEMA annex;
CREATE SCHEMA nothing_inside;
COMMENT ON SCHEMA zoo IS 'the zoo';
GRANT USAGE ON SCHEMA zoo TO zoo_visitor;
GRANT CREATE ON SCHEMA annex TO zoo_keeper WITH GRANT OPTION;
REVOKE ALL ON SCHEMA public FROM PUBLIC;

ALTER DEFAULT PRIVILEGES FOR ROLE zoo_keeper IN SCHEMA zoo GRANT SELECT ON TABLES TO zoo_visitor;
ALTER DEFAULT PRIVILEGES FOR ROLE zoo_keeper GRANT USAGE ON SEQUENCES TO zoo_guide WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES FOR ROLE zoo_keeper REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE zoo_keeper REVOKE USAGE ON TYPES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE zoo_keeper GRANT USAGE ON SCHEMAS TO zoo_visitor;

SET search_path = zoo;
