//! Merges, verifies and describes PostgreSQL's base backups as bytes.
//!
//! The crate opens no file and no connection, and starts no process. It reads the archives that the
//! replication command BASE_BACKUP sends once, from the first byte to the last, in bounded memory.
//! Every input is considered hostile; the result is always [`Facts`] or an [`Error`] with a place
//! and a reason.
//!
//! | module | contents |
//! |---|---|
//! | [`merge`] | the server's archives as one tar that unpacks to a data directory |
//! | [`write`](mod@write) | the same tar, written from the files of a data directory |
//! | [`exclusion`] | the files that no base backup contains |
//! | [`verify`] | the one tar, checked while it passes: [`Facts`] or an [`Error`] |
//! | [`facts`] | the contents of a verified backup |
//! | [`manifest`] | `backup_manifest`, read as a stream |
//! | [`page`] | checksums of data pages |
//! | [`relation_file`] | the files that have pages |
//! | [`incremental`] | headers of `INCREMENTAL.*` files |
//! | [`control`] | `global/pg_control` of PostgreSQL 15 to 18 |
//! | [`label`] | `backup_label` |
//! | [`settings`] | settings of every stage that takes base backups |
//! | [`tablespace_map`] | `tablespace_map`, read and rewritten |
//! | `tar_header` | the headers of tar members |

pub mod control;
mod error;
pub mod exclusion;
pub mod facts;
pub mod incremental;
pub mod label;
pub mod manifest;
pub mod merge;
pub mod page;
pub mod relation_file;
pub mod settings;
pub mod tablespace_map;
mod tar_header;
pub mod verify;
pub mod write;

pub use error::{Error, ErrorKind, Result};
pub use facts::Facts;
