//! PostgreSQL's write-ahead log (WAL), as numbers, names and bytes. The crate opens no file and no
//! connection.
//!
//! Every input is considered hostile: the result is always a value or an error, in bounded memory.
//! The formats are those of PostgreSQL 15 to 18 on machines with 64 bits and little-endian order.
//!
//! | module | contents |
//! | --- | --- |
//! | [`lsn`] | positions in the WAL |
//! | [`segment`] | WAL segments: numbers, sizes and names |
//! | [`archive_name`] | the names of all files in a WAL archive |
//! | [`history`] | timeline history files |
//! | [`page`] | headers of WAL pages |
//! | [`record`] | headers and CRCs of WAL records |
//! | [`record_end`] | the end of a record, over the headers of pages |
//! | [`walk`] | one segment, read from the first record to the last: [`SegmentFacts`] |
//! | [`facts`] | the contents of a segment, and its comparison with its name |

pub mod archive_name;
pub mod facts;
pub mod history;
pub mod lsn;
pub mod page;
pub mod record;
pub mod record_end;
pub mod segment;
pub mod walk;

pub use archive_name::ArchiveName;
pub use facts::SegmentFacts;
pub use history::History;
pub use lsn::Lsn;
