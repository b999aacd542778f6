//! Files of this host as streams.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use longshore_core::stream::{ByteStream, from_bytes, transform};
use longshore_core::{Error, Stage};

/// Streams the bytes of a file.
pub(crate) fn read(path: PathBuf) -> ByteStream {
    let name = path.display().to_string();
    let wrap = move |error| Error::io(Stage::Drill, name, "cannot read the file", error);
    transform(from_bytes(""), wrap, move |_, writer| io::copy(&mut File::open(path)?, writer).map(drop))
}
