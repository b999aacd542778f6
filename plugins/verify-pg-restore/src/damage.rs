//! Damage in an archive, detected by our own reader. pg_restore's error messages are no stable
//! interface, and it also fails for sound archives: of a newer release, or in an unsupported
//! compression.

use std::io;

use longshore_core::error::printable;
use longshore_core::stream::{ByteStream, StreamReader, tee};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_archive::ErrorKind;

/// Passes an archive on, and fails its stream if the archive is damaged.
pub(crate) fn fail_if_damaged(plaintext: ByteStream, subject: &str) -> ByteStream {
    let label = subject.to_owned();
    tee(plaintext, label.clone(), move |reader| read(reader, &label)).0
}

fn read(reader: &mut StreamReader, subject: &str) -> Result<()> {
    let Err(error) = longshore_pg_archive::read(&mut *reader, &mut |_| {}) else { return Ok(()) };
    if let Some(carried) = error.io().and_then(Error::carried_by) {
        return Err(carried.clone());
    }
    if error.kind == ErrorKind::Damaged {
        return Err(Error::new(Stage::Verify, Kind::Corrupt, subject, printable(&error.to_string())));
    }
    // The archive is unsupported here: only pg_restore can verify it.
    let rest = io::copy(reader, &mut io::sink());
    rest.map(drop).map_err(|error| match Error::carried_by(&error) {
        Some(carried) => carried.clone(),
        None => Error::io(Stage::Verify, subject, "cannot read the archive", error),
    })
}
