//! Brings backups back into a cluster with pg_restore and psql.
