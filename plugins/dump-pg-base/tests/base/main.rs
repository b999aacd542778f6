//! Base backups of real servers.

mod check;
mod damaged_page;
mod program;
mod refused;
mod stream;
mod support;
mod wal;
