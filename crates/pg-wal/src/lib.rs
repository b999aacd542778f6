//! PostgreSQL's write-ahead log (WAL), as numbers and names. The crate opens no file and no
//! connection.
//!
//! | module | contents |
//! | --- | --- |
//! | [`lsn`] | positions in the WAL |
//! | [`segment`] | WAL segments: numbers, sizes and names |

pub mod lsn;
pub mod segment;

pub use lsn::Lsn;
