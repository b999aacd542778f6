//! Renames roles in archives while they are streamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use longshore_core::error::printable;
use longshore_core::manifest::{Format, Manifest};
use longshore_core::plugin::DatabaseTarget;
use longshore_core::stream::{self, ByteStream};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_archive::rewrite;

/// Fails if roles are to be renamed in an unsupported format.
pub(crate) fn expect_supported_format(target: &DatabaseTarget, manifest: &Manifest) -> Result<()> {
    if target.role_map.is_empty() || manifest.artifact.format != Format::Tar {
        return Ok(());
    }
    let message = "roles can be renamed in the custom and the directory format, but not in the tar format";
    Err(Error::new(Stage::Restore, Kind::Usage, manifest.subject.to_string(), message)
        .hint("use --no-owner and --no-privileges instead"))
}

/// Returns the same archive of the custom format with the roles of the target.
pub(crate) fn rename_roles(target: &DatabaseTarget, manifest: &Manifest, plaintext: ByteStream) -> ByteStream {
    if target.role_map.is_empty() || manifest.artifact.format != Format::Custom {
        return plaintext;
    }
    let (map, label) = (target.role_map.clone(), manifest.subject.to_string());
    let wrap = move |error| failure(&label, error);
    stream::transform(plaintext, wrap, move |reader, writer| {
        rewrite::roles(reader, writer, &map).map(drop).map_err(into_io_error)
    })
}

/// Renames roles in an unpacked directory: only its TOC contains role names.
pub(crate) fn rename_in_directory(target: &DatabaseTarget, manifest: &Manifest, dump: &Path) -> Result<()> {
    if target.role_map.is_empty() {
        return Ok(());
    }
    let (old, new) = (dump.join("toc.dat"), dump.join("toc.new"));
    let rename = || {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        let input = BufReader::new(File::open(&old)?);
        rewrite::roles(input, BufWriter::new(file), &target.role_map).map_err(into_io_error)?;
        fs::rename(&new, &old)
    };
    rename().map_err(|error: io::Error| failure(&manifest.subject.to_string(), error))
}

/// Converts an error of the archive reader to an I/O error, with the stream's error if that is the
/// cause.
pub(crate) fn into_io_error(error: longshore_pg_archive::Error) -> io::Error {
    match error.io().and_then(Error::carried_by) {
        Some(carried) => carried.clone().into(),
        None => io::Error::other(printable(&error.to_string())),
    }
}

fn failure(subject: &str, error: io::Error) -> Error {
    Error::new(Stage::Restore, Kind::Failed, subject, "roles cannot be renamed in the archive").because(error)
}
