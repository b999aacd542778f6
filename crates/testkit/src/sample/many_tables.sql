-- Creates :count tables in transactions of 500: a single transaction would need a lock for each
-- table at once.
SELECT set_config('sample.count', :'count', false) \g /dev/null
DO $do$
DECLARE
    count integer := current_setting('sample.count');
BEGIN
    FOR i IN 1..count LOOP
        EXECUTE format('CREATE TABLE table_%s (id integer)', i);
        IF i % 10 = 0 THEN
            EXECUTE format('INSERT INTO table_%s VALUES (%s)', i, i);
        END IF;
        IF i % 500 = 0 THEN
            COMMIT;
        END IF;
    END LOOP;
END
$do$;
