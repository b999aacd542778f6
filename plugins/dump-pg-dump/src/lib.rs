//! Dumps databases with pg_dump.
