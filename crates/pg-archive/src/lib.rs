//! Reads PostgreSQL's dump formats from bytes: judges every one of them, and tells what they hold.
//!
//! It opens no file, starts no process and waits for nothing: bytes come from whatever implements [`BufRead`], once, from the first
//! to the last. Memory is bounded by the names in an archive, not by its data. Every input is taken to be hostile: whatever it is, the
//! answer is [`Facts`] or an [`Error`] that says where and why.
//!
//! ```
//! let script = b"--\n-- PostgreSQL database dump\n--\n\n--\n-- PostgreSQL database dump complete\n--\n\n";
//! let facts = longshore_pg_archive::read(&script[..], &mut |place| println!("{}", place.name)).unwrap();
//! assert_eq!(facts.kind, longshore_pg_archive::Kind::Script);
//! ```
//!
//! | module | reads |
//! |---|---|
//! | `custom` | `pg_dump --format=custom`: header, TOC, blocks |
//! | `files` | `--format=directory` and `--format=tar`, as a tar stream |
//! | `script` | SQL of `pg_dump` and `pg_dumpall` |
//! | `header`, `toc`, `copy` | what archives begin with |
//! | `sql` | the words of SQL, and the roles and sequences in it |
//! | [`definitions`] | digests of what archives and scripts define |
//! | `active` | objects that act beyond their database once they are restored |
//! | [`outline`] | the head of an archive, from which all but the data can be restored |
//! | [`offsets`] | where each table's data is, for archives that do not say it |
//! | [`rewrite`] | archives whose roles have other names |
//! | `decode` | what is compressed inside |
//! | [`conversion`] | what editors, shells and terminals make of a dump |
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

/// Reads an archive of any form to its end. `watch` hears which table's data comes next.
///
/// Facts mean that the archive is whole: whatever its form lets one judge was judged. What it does not let one judge is a changed
/// letter inside of SQL or of an uncompressed value; only a digest from when it was made tells that.
pub fn read<R: BufRead>(inner: R, watch: &mut dyn FnMut(&Place)) -> Result<Facts> {
    let mut begun = Input::new(inner);
    let head = begun.head(conversion::HEAD_BYTES)?;
    if let Some(conversion) = conversion::Conversion::of(&head) {
        return Err(conversion.error(0));
    }
    let mut input = Input::new(Cursor::new(head).chain(begun.into_inner()));
    // No two forms begin with the same byte.
    match input.fill("beginning of the archive")?.first() {
        None => Err(Error::damaged(0, "beginning of the archive", "there is nothing at all")),
        Some(b'P') => {
            let header = Header::read(&mut input)?;
            match header.layout {
                Layout::Custom => custom::read(input, header, watch),
                Layout::Files => {
                    let message = "this is a toc.dat, the list of a directory's or tar's files, and not all of it";
                    Err(Error::unsupported(10, "header", message))
                }
            }
        }
        Some(b'-') => script::read(input, watch),
        Some(_) => files::read(input, watch),
    }
}
