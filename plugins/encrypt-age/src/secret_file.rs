//! Files with confidential content: read at once, wiped from memory when dropped, never quoted.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use secrecy::SecretBox;

/// The maximum size of a file of secrets in bytes; age's own limit.
pub(crate) const LIMIT_BYTES: u64 = 16 << 20;

/// The users besides its owner who may read a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Any user, as the file's mode allows.
    Any,
    /// Its owner and its group; read permission for others is an error.
    NotOthers,
}

/// Reads a file.
pub(crate) fn read(path: &Path, readers: Readers) -> io::Result<SecretBox<Vec<u8>>> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if readers == Readers::NotOthers && metadata.permissions().mode() & 0o007 != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the file is world-readable"));
    }
    drain(file, metadata.len())
}

/// Reads to the end; `expected_bytes` avoids reallocations, whose old buffers would not be wiped.
pub(crate) fn drain(source: impl Read, expected_bytes: u64) -> io::Result<SecretBox<Vec<u8>>> {
    let room = expected_bytes.min(LIMIT_BYTES) as usize + 1;
    let mut content = SecretBox::new(Box::new(Vec::with_capacity(room)));
    let bytes = secrecy::ExposeSecretMut::expose_secret_mut(&mut content);
    source.take(LIMIT_BYTES + 1).read_to_end(bytes)?;
    if bytes.len() as u64 > LIMIT_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "larger than 16 MiB"));
    }
    Ok(content)
}
