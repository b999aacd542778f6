-- The owners and users of the sample databases.
CREATE ROLE shop_owner NOLOGIN;
CREATE ROLE shop_reader NOLOGIN;
CREATE ROLE shop_writer NOLOGIN;
CREATE ROLE shop_app LOGIN PASSWORD 'correct horse battery staple' CONNECTION LIMIT 20 VALID UNTIL '2038-01-19 03:14:07+00';
CREATE ROLE "Anna O'Brien" LOGIN CREATEDB PASSWORD E'it''s 100% "quoted" \\ \u00e4';
CREATE ROLE reporting LOGIN NOINHERIT PASSWORD 'only reads';
CREATE ROLE telemetry_owner LOGIN CREATEROLE;
GRANT shop_reader TO shop_writer;
GRANT shop_writer TO shop_app;
GRANT shop_reader TO reporting;
GRANT shop_owner TO "Anna O'Brien" WITH ADMIN OPTION;
GRANT pg_read_all_settings TO reporting;
ALTER ROLE reporting SET statement_timeout = '5min';
ALTER ROLE shop_app SET search_path = shop, public;
COMMENT ON ROLE shop_app IS 'the web shop itself';
