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
//!     longshore_pg_archive::read(&script[..], &mut |place| println!("{}", place.name)).unwrap();
//! assert_eq!(facts.kind, longshore_pg_archive::Kind::Script);
//! ```
//!
//! | module | parses |
//! |---|---|
//! | `custom` | `pg_dump --format=custom`: header, TOC, blocks |
//! | `files` | `--format=directory` and `--format=tar`, as a tar stream |
//! | `script` | SQL of `pg_dump` and `pg_dumpall` |
//! | `header`, `toc`, `copy` | the beginning of an archive |
//! | `sql` | the tokens of SQL, and the roles and sequences in them |
//! | [`definitions`] | digests of the definitions in archives and scripts |
//! | `active` | objects that act beyond their database after a restore |
//! | [`outline`] | the head of an archive, which suffices to restore everything but the data |
//! | [`offsets`] | the offsets of each table's data, for archives without them |
//! | [`rewrite`] | archives with renamed roles |
//! | `decode` | compressed data in archives |
//! | [`conversion`] | damage by editors, shells and terminals |
//! | `rows`, `statements`, `large_objects` | the data itself |

mod active;
pub mod conversion;
mod copy;
mod custom;
mod decode;
pub mod definitions;
mod digest;
mod error;
mod facts;
mod files;
mod header;
mod input;
mod large_objects;
mod lines;
pub mod listing;
pub mod offsets;
pub mod outline;
pub mod rewrite;
mod rows;
mod script;
mod sql;
mod statements;
mod table;
mod text;
mod toc;

use std::io::{BufRead, Cursor, Read};

pub use active::Active;
pub use definitions::{Definition, Definitions};
pub use error::{Error, Result, Trouble};
pub use facts::{Compression, Contents, Facts, Kind, LargeObjects, Origin, Others, Place, Sequence, Table, Written};

use crate::header::{Header, Layout};
use crate::input::Input;

/// Reads an archive of any format to its end. Calls `watch` before the data of each table.
///
/// A result of facts means that the archive is complete and passed all checks that its format
/// allows. No format reveals a changed letter within SQL or within an uncompressed value; only a
/// digest from the time of the dump does.
pub fn read<R: BufRead>(inner: R, watch: &mut dyn FnMut(&Place)) -> Result<Facts> {
    let mut begun = Input::new(inner);
    let head = begun.head(conversion::HEAD_BYTES)?;
    if let Some(conversion) = conversion::Conversion::of(&head) {
        return Err(conversion.error(0));
    }
    let mut input = Input::new(Cursor::new(head).chain(begun.into_inner()));
    // Each format begins with a different byte.
    match input.fill("beginning of the archive")?.first() {
        None => Err(Error::damaged(0, "beginning of the archive", "the archive is empty")),
        Some(b'P') => {
            let header = Header::read(&mut input)?;
            match header.layout {
                Layout::Custom => custom::read(input, header, watch),
                Layout::Files => {
                    let message = "this is only the toc.dat of a directory or tar archive, not the whole archive";
                    Err(Error::unsupported(10, "header", message))
                }
            }
        }
        Some(b'-') => script::read(input, watch),
        Some(_) => files::read(input, watch),
    }
}
