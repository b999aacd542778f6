//! Files whose content must not leak: read at once, wiped when dropped, never quoted.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use secrecy::SecretBox;

/// The most a file of secrets may hold, in bytes; age's own limit.
pub(crate) const LIMIT_BYTES: u64 = 16 << 20;

/// Who else may read a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Whoever its owner lets.
    Any,
    /// Its owner and its group; more is an error.
    NotOthers,
}

/// Reads a file.
pub(crate) fn read(path: &Path, readers: Readers) -> io::Result<SecretBox<Vec<u8>>> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if readers == Readers::NotOthers && metadata.permissions().mode() & 0o007 != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "everybody on this host may read it"));
    }
    drain(file, metadata.len())
}

/// Reads to the end; `expected_bytes` saves copies in memory that nobody would wipe.
pub(crate) fn drain(source: impl Read, expected_bytes: u64) -> io::Result<SecretBox<Vec<u8>>> {
    let room = expected_bytes.min(LIMIT_BYTES) as usize + 1;
    let mut content = SecretBox::new(Box::new(Vec::with_capacity(room)));
    let bytes = secrecy::ExposeSecretMut::expose_secret_mut(&mut content);
    source.take(LIMIT_BYTES + 1).read_to_end(bytes)?;
    if bytes.len() as u64 > LIMIT_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "larger than 16 MiB, which no such file is"));
    }
    Ok(content)
}
