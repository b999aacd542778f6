//! Whether an archive is damaged: told by our own reader, which reads along. pg_restore gives sentences alone, and fails on sound archives, too:
//! of a newer release, or compressed in a way that it was built without.

use std::io;

use longshore_core::error::printable;
use longshore_core::stream::{ByteStream, StreamReader, alongside};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_archive::Trouble;

/// Passes an archive on, and fails its stream where it is damaged.
pub(crate) fn watched(plaintext: ByteStream, subject: &str) -> ByteStream {
    let label = subject.to_owned();
    alongside(plaintext, label.clone(), move |reader| read(reader, &label)).0
}

fn read(reader: &mut StreamReader, subject: &str) -> Result<()> {
    let Err(error) = longshore_pg_archive::read(&mut *reader, &mut |_| {}) else { return Ok(()) };
    if let Some(carried) = error.io().and_then(Error::carried_by) {
        return Err(carried.clone());
    }
    if error.trouble == Trouble::Damaged {
        return Err(Error::new(Stage::Verify, Kind::Corrupt, subject, printable(&error.to_string())));
    }
    // Only pg_restore can tell.
    let rest = io::copy(reader, &mut io::sink());
    rest.map(drop).map_err(|error| match Error::carried_by(&error) {
        Some(carried) => carried.clone(),
        None => Error::io(Stage::Verify, subject, "cannot read the archive", error),
    })
}
