//! Dumps what belongs to a whole cluster with pg_dumpall.
