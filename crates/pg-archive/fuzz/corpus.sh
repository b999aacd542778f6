#!/bin/sh
# Creates a corpus of small real dumps in every format of the pg_dump on the PATH.
# usage: corpus.sh CONNECTION      such as "dbname=empty": an empty database, which stays empty
set -eu
cd "$(dirname "$0")"
mkdir -p corpus/read corpus/split
schema=longshore_corpus
psql -qX "$1" <<SQL >/dev/null
CREATE SCHEMA $schema;
CREATE TABLE $schema.rows AS SELECT i AS id, repeat('x', i * 10) AS text, NULL::int AS nothing FROM generate_series(1, 20) i;
CREATE TABLE $schema."odd ""name" (a int);
SELECT lo_from_bytea(4000000001, repeat('large', 100)::bytea), lo_create(4000000002);
CREATE FUNCTION $schema.f() RETURNS text LANGUAGE sql AS \$\$ SELECT 'COPY x FROM stdin;' \$\$;
SQL
trap 'psql -qX "$1" -c "SELECT lo_unlink(4000000001), lo_unlink(4000000002)" -c "DROP SCHEMA $schema CASCADE" >/dev/null' EXIT
dump() {
    name=$1
    shift
    pg_dump "$connection" "$@" >"corpus/read/$name"
    { printf '\005'; cat "corpus/read/$name"; } >"corpus/split/$name"
}
connection=$1
for compression in none gzip lz4 zstd; do
    dump "custom-$compression" --format=custom --compress=$compression || echo "this pg_dump has no $compression" >&2
done
dump plain --format=plain
dump inserts --inserts
dump tar --format=tar
folder=$(mktemp -d)
pg_dump "$connection" --format=directory --file="$folder/dump"
tar -C "$folder/dump" -cf corpus/read/directory .
rm -r "$folder"
pg_dumpall -d "$connection" --globals-only --no-role-passwords >corpus/read/globals
