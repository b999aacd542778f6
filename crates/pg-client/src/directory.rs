//! pg_dump's directory format as one tar stream, and the reverse: a folder that `pg_restore` reads.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use longshore_core::stream::{self, ByteStream};
use longshore_core::{Error, Kind, Result, Stage};
use tar::EntryType;
pub use tempfile::TempDir;

/// Creates a private folder below `scratch`. Dropping the result removes the folder.
pub fn private_folder(scratch: Option<&Path>, stage: Stage) -> Result<TempDir> {
    let Some(scratch) = scratch else {
        return Err(Error::new(stage, Kind::Usage, "scratch", "this format is not a stream and needs a folder for its files")
            .hint("set a folder for plaintext, preferably in memory such as /dev/shm: scratch_dir in the job, --scratch-dir on the command line"));
    };
    tempfile::Builder::new()
        .prefix("longshore-")
        .tempdir_in(scratch)
        .map_err(|error| Error::io(stage, scratch.display().to_string(), "cannot create a private folder in it", error))
}

/// Packs the files of `folder`/dump into a tar stream, `toc.dat` first. Removes each file after
/// reading it, and the folder at the end of the stream.
pub fn pack(folder: TempDir) -> ByteStream {
    let location = folder.path().display().to_string();
    let wrap = move |error| Error::io(Stage::Dump, location, "cannot pack the files that pg_dump wrote", error);
    stream::transform(stream::from_bytes(""), wrap, move |_, writer| {
        write(&folder.path().join("dump"), writer, |file| fs::remove_file(file))?;
        folder.close()
    })
}

/// Packs the files of a directory dump into a tar stream as [`pack`] does, and leaves the directory
/// unchanged. Entries other than regular files are in the stream by name only: folders are not
/// entered, links not followed, and fifos not opened.
pub fn read(dump: &Path) -> ByteStream {
    let (dump, location) = (dump.to_owned(), dump.display().to_string());
    let wrap = move |error| Error::io(Stage::Verify, location, "cannot read the directory dump", error);
    stream::transform(stream::from_bytes(""), wrap, move |_, writer| write(&dump, writer, |_| Ok(())))
}

/// Writes a folder as a tar, `toc.dat` first. Calls `after_read` with each file after reading it.
fn write(dump: &Path, writer: &mut impl io::Write, after_read: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(dump)?.collect::<io::Result<_>>()?;
    entries.sort_by_key(|entry| (entry.file_name() != "toc.dat", entry.file_name()));
    let mut tar = tar::Builder::new(writer);
    tar.mode(tar::HeaderMode::Deterministic);
    for entry in entries {
        let kind = entry.file_type()?;
        if kind.is_file() {
            tar.append_path_with_name(entry.path(), entry.file_name())?;
            after_read(&entry.path())?;
        } else {
            let kind = match kind {
                kind if kind.is_dir() => EntryType::Directory,
                kind if kind.is_symlink() => EntryType::Symlink,
                // A tar has no entry type for sockets, and readers treat all special files alike.
                _ => EntryType::Fifo,
            };
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(0);
            tar.append_data(&mut header, entry.file_name(), io::empty())?;
        }
    }
    tar.finish()
}

/// Unpacks a tar stream that [`pack`] made into `folder`/dump. Only files at the top level are
/// unpacked, since a restore reads no others. Fails if a path leaves the folder, since a tar can
/// contain any path.
pub async fn unpack(archive: ByteStream, folder: &Path, stage: Stage, subject: &str) -> Result<()> {
    let dump_dir = folder.join("dump");
    let label = subject.to_owned();
    let wrap = move |error: io::Error| {
        let kind = if error.kind() == io::ErrorKind::InvalidData { Kind::Corrupt } else { Kind::Failed };
        Error::new(stage, kind, label, "cannot unpack the directory dump").because(error)
    };
    let unpacked = stream::transform(archive, wrap, move |reader, _| {
        fs::create_dir(&dump_dir)?;
        let mut tar = tar::Archive::new(&mut *reader);
        for entry in tar.entries()? {
            let mut entry = entry?;
            let path = relative_path(&entry.path()?)?;
            if path.components().count() == 1 && entry.header().entry_type().is_file() {
                let mut file =
                    OpenOptions::new().write(true).create_new(true).mode(0o600).open(dump_dir.join(&path))?;
                io::copy(&mut entry, &mut file)?;
            }
        }
        // The bytes after the last file must be read to reach the end of the stream.
        io::copy(reader, &mut io::sink()).map(drop)
    });
    stream::drain(unpacked).await
}

/// Returns a path in a tar, or fails if the path leaves the folder that the tar is unpacked to.
fn relative_path(path: &Path) -> io::Result<PathBuf> {
    let mut relative_path = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => relative_path.push(part),
            Component::CurDir => {}
            _ => {
                let message = format!("contains \"{}\", which pg_dump does not write", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        }
    }
    Ok(relative_path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> TempDir {
        let folder = private_folder(Some(&std::env::temp_dir()), Stage::Dump).unwrap();
        fs::create_dir(folder.path().join("dump")).unwrap();
        for (name, content) in [("toc.dat", "toc"), ("1.dat.gz", "one"), ("blobs.toc", "")] {
            fs::write(folder.path().join("dump").join(name), content).unwrap();
        }
        folder
    }

    #[tokio::test]
    async fn unpack_restores_a_packed_folder() {
        let source = sample();
        let packed = source.path().to_owned();
        let target = tempfile::tempdir().unwrap();
        unpack(pack(source), target.path(), Stage::Restore, "appdb").await.unwrap();
        assert_eq!(fs::read_to_string(target.path().join("dump/1.dat.gz")).unwrap(), "one");
        assert_eq!(fs::read_dir(target.path().join("dump")).unwrap().count(), 3);
        assert!(!packed.exists());
    }

    /// Returns the types and names of the entries in a tar stream.
    async fn entries_of(stream: ByteStream) -> Vec<(EntryType, String)> {
        let bytes = stream::collect(stream, 1 << 20, Stage::Dump, "").await.unwrap();
        let mut tar = tar::Archive::new(&bytes[..]);
        let entries = tar.entries().unwrap().map(Result::unwrap);
        entries.map(|entry| (entry.header().entry_type(), entry.path().unwrap().display().to_string())).collect()
    }

    #[tokio::test]
    async fn read_lists_special_files_by_name_only() {
        let source = sample();
        let dump = source.path().join("dump");
        fs::create_dir(dump.join("folder")).unwrap();
        fs::write(dump.join("folder/file"), "x").unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, dump.join("fifo"), 0o600.into()).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dump.join("socket")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dump.join("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", dump.join("l".repeat(200))).unwrap();
        let expected = [
            (EntryType::Regular, "toc.dat".to_owned()),
            (EntryType::Regular, "1.dat.gz".to_owned()),
            (EntryType::Regular, "blobs.toc".to_owned()),
            (EntryType::Fifo, "fifo".to_owned()),
            (EntryType::Directory, "folder".to_owned()),
            (EntryType::Symlink, "link".to_owned()),
            (EntryType::Symlink, "l".repeat(200)),
            (EntryType::Fifo, "socket".to_owned()),
        ];
        assert_eq!(entries_of(read(&dump)).await, expected);

        // A restore from such a tar unpacks only the regular files.
        let target = tempfile::tempdir().unwrap();
        unpack(read(&dump), target.path(), Stage::Restore, "appdb").await.unwrap();
        assert_eq!(fs::read_dir(target.path().join("dump")).unwrap().count(), 3);
    }

    /// Makes a tar stream of folders and empty files, with names that tar programs would reject.
    fn tar_of(names: &[&str]) -> ByteStream {
        let mut tar = tar::Builder::new(Vec::new());
        for name in names {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(if name.ends_with('/') { EntryType::Directory } else { EntryType::Regular });
            header.set_size(0);
            header.set_cksum();
            tar.append(&header, io::empty()).unwrap();
        }
        stream::from_bytes(tar.into_inner().unwrap())
    }

    #[tokio::test]
    async fn unpack_rejects_paths_outside_the_folder() {
        for name in ["../evil", "/tmp/evil", "a/../../evil"] {
            let target = tempfile::tempdir().unwrap();
            let error = unpack(tar_of(&[name]), target.path(), Stage::Restore, "appdb").await.unwrap_err();
            assert_eq!(error.kind(), Kind::Corrupt, "{name}");
        }
    }

    #[tokio::test]
    async fn unpack_ignores_files_in_subfolders() {
        let target = tempfile::tempdir().unwrap();
        let tar = tar_of(&["./", "./toc.dat", "README", "a/", "a/b"]);
        unpack(tar, target.path(), Stage::Restore, "appdb").await.unwrap();
        let mut names: Vec<_> =
            fs::read_dir(target.path().join("dump")).unwrap().map(|file| file.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["README", "toc.dat"]);
    }

    #[tokio::test]
    async fn unpack_fails_on_a_truncated_tar() {
        let whole = stream::collect(pack(sample()), 1 << 20, Stage::Dump, "").await.unwrap();
        for length in [whole.len() / 4, 100] {
            let target = tempfile::tempdir().unwrap();
            let cut = stream::from_bytes(whole.slice(..length));
            assert!(unpack(cut, target.path(), Stage::Restore, "appdb").await.is_err(), "{length}");
        }
    }
}
