//! Access to regular files only: links are not followed, and pipes do not block.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// The maximum number of bytes that [`read`] returns.
const MAX_BYTES: u64 = 256 << 20;

/// Opens a regular file with these options. Fails for a link, a pipe, a folder or a device.
pub fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = options.custom_flags(flags.bits().cast_signed()).open(path);
    let file = opened.map_err(|error| match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::LOOP) => invalid_file("a symbolic link"),
        // A pipe without a reader, or a socket.
        Some(Errno::NXIO) => invalid_file("not a regular file"),
        _ => error,
    })?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(invalid_file("not a regular file")),
    }
}

/// Reads a regular file. Fails in the same cases as [`open`].
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path, OpenOptions::new().read(true))?.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn invalid_file(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, format!("{what}: find out who created it, and remove it"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    #[test]
    fn opens_only_regular_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("there"), "text").unwrap();
        symlink(path("there"), path("link")).unwrap();
        symlink(path("gone"), path("dangling")).unwrap();
        assert!(Command::new("mkfifo").arg(path("fifo")).status().unwrap().success());
        assert_eq!(read(&path("there")).unwrap(), b"text");
        for name in ["link", "dangling", "fifo", "."] {
            assert!(read(&path(name)).is_err(), "{name}");
            let mut write = OpenOptions::new();
            write.read(true).write(true).create(true);
            assert!(open(&path(name), &mut write).is_err(), "{name}");
            assert!(open(&path(name), OpenOptions::new().write(true)).is_err(), "{name}");
        }
        assert!(!path("gone").exists());
    }
}
