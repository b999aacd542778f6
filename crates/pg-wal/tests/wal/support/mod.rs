//! Servers that archive WAL, and `pg_waldump`.

pub(crate) mod dump;
pub(crate) mod source;
