//! Parses PostgreSQL's dump formats, verifies every byte, and reports the contents.
//!
//! The parser opens no file and starts no process: it reads the bytes of any [`BufRead`] once, from
//! the first to the last. Memory is bounded by the names in an archive, not by its data. Every
//! input is considered hostile, and the result is always [`Facts`] or an [`Error`] with a place and
//! a reason.
//!
//! ```
//! let script =
//!     b"--\n-- PostgreSQL database dump\n--\n\n--\n-- PostgreSQL database dump complete\n--\n\n";
//! let facts =
//!     longshore_pg_archive::read(&script[..], &mut |part| println!("{}", part.name)).unwrap();
//! assert_eq!(facts.format, longshore_pg_archive::Format::Script);
//! ```
//!
//! | module | parses |
//! |---|---|
//! | `custom` | `pg_dump --format=custom`: header, TOC, blocks |
//! | `files` | `--format=directory` and `--format=tar`, as a tar stream |
//! | `script` | SQL of `pg_dump` and `pg_dumpall` |
//! | `header`, `toc`, `copy_statement` | the beginning of an archive |
//! | `sql` | the tokens of SQL, and the roles and sequences in them |
//! | [`statements`] | the statements of a script in memory |
//! | [`definitions`] | digests of the definitions in archives and scripts |
//! | `external_effects` | objects that act beyond their database after a restore |
//! | [`outline`] | the head of an archive, which suffices to restore everything but the data |
//! | [`offsets`] | the offsets of each table's data, for archives without them |
//! | [`rewrite`] | archives with renamed roles |
//! | `decode` | compressed data in archives |
//! | [`conversion`] | damage by editors, shells and terminals |
//! | `copy_data`, `insert_data`, `large_objects` | the data itself |

pub mod conversion;
mod copy_data;
mod copy_lines;
mod copy_statement;
mod custom;
mod decode;
pub mod definitions;
mod digest;
mod encoding;
mod error;
mod external_effects;
mod facts;
mod files;
mod header;
mod input;
mod insert_data;
mod large_objects;
pub mod listing;
pub mod offsets;
pub mod outline;
pub mod rewrite;
mod script;
mod sql;
pub mod statements;
mod table_data;
mod toc;

use std::io::{BufRead, Cursor, Read};

pub use definitions::{Definition, Definitions};
pub use error::{Error, ErrorKind, Result};
pub use external_effects::ExternalEffects;
pub use facts::{
    Compression, Contents, ExtraFiles, Facts, Format, HeaderDetails, LargeObjects, Origin, Progress, Sequence, Table,
};

use crate::header::{Header, Layout};
use crate::input::Input;

/// Reads an archive of any format to its end. Calls `on_progress` before the data of each table.
///
/// A result of facts means that the archive is complete and passed all checks that its format
/// allows. No format reveals a changed letter within SQL or within an uncompressed value; only a
/// digest from the time of the dump does.
pub fn read<R: BufRead>(inner: R, on_progress: &mut dyn FnMut(&Progress)) -> Result<Facts> {
    let mut unread = Input::new(inner);
    let head = unread.head(conversion::HEAD_BYTES)?;
    if let Some(conversion) = conversion::Conversion::of(&head) {
        return Err(conversion.error(0));
    }
    let mut input = Input::new(Cursor::new(head).chain(unread.into_inner()));
    // Each format begins with a different byte.
    match input.fill("beginning of the archive")?.first() {
        None => Err(Error::damaged(0, "beginning of the archive", "the archive is empty")),
        Some(b'P') => {
            let header = Header::read(&mut input)?;
            match header.layout {
                Layout::Custom => custom::read(input, header, on_progress),
                Layout::Files => {
                    let message = "this is only the toc.dat of a directory or tar archive, not the whole archive";
                    Err(Error::unsupported(10, "header", message))
                }
            }
        }
        Some(b'-') => script::read(input, on_progress),
        Some(_) => files::read(input, on_progress),
    }
}
