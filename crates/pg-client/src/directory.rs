//! pg_dump's directory format as one tar stream, and back into a folder that `pg_restore` reads.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path};

use longshore_core::stream::{self, ByteStream};
use longshore_core::{Error, Kind, Result, Stage};
pub use tempfile::TempDir;

/// A private folder below `scratch`, gone when it is dropped.
pub fn private_folder(scratch: Option<&Path>, stage: Stage) -> Result<TempDir> {
    let Some(scratch) = scratch else {
        return Err(Error::new(stage, Kind::Usage, "scratch", "this format is no stream, and needs a place for its files")
            .hint("name a folder for plaintext, best one in memory such as /dev/shm: scratch_dir in the job, --scratch-dir on the command line"));
    };
    tempfile::Builder::new()
        .prefix("longshore-")
        .tempdir_in(scratch)
        .map_err(|error| Error::io(stage, scratch.display().to_string(), "cannot make a private folder in it", error))
}

/// The files of `folder`/dump as a tar stream, `toc.dat` first. Each is removed once it has passed; the folder goes with the stream.
pub fn pack(folder: TempDir) -> ByteStream {
    let place = folder.path().display().to_string();
    let wrap = move |error| Error::io(Stage::Dump, place, "cannot pack what pg_dump wrote", error);
    stream::transform(stream::from_bytes(""), wrap, move |_, writer| {
        write(&folder.path().join("dump"), writer, |file| fs::remove_file(file))?;
        folder.close()
    })
}

/// The files of a directory dump as a tar stream, as [`pack`] makes it; the directory stays as it is.
pub fn read(dump: &Path) -> ByteStream {
    let (dump, place) = (dump.to_owned(), dump.display().to_string());
    let wrap = move |error| Error::io(Stage::Verify, place, "cannot read the directory dump", error);
    stream::transform(stream::from_bytes(""), wrap, move |_, writer| write(&dump, writer, |_| Ok(())))
}

/// Writes the files of a folder as a tar, `toc.dat` first; each is handed to `done` once it was read.
fn write(dump: &Path, writer: &mut impl io::Write, done: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    let mut files: Vec<_> = fs::read_dir(dump)?.collect::<io::Result<_>>()?;
    files.sort_by_key(|file| (file.file_name() != "toc.dat", file.file_name()));
    let mut tar = tar::Builder::new(writer);
    tar.mode(tar::HeaderMode::Deterministic);
    for file in files {
        tar.append_path_with_name(file.path(), file.file_name())?;
        done(&file.path())?;
    }
    tar.finish()
}

/// Unpacks a tar stream that [`pack`] made into `folder`/dump. Anything but plain files at its top is refused: a tar can name any path.
pub async fn unpack(archive: ByteStream, folder: &Path, stage: Stage, subject: &str) -> Result<()> {
    let place = folder.join("dump");
    let label = subject.to_owned();
    let wrap = move |error: io::Error| {
        let kind = if error.kind() == io::ErrorKind::InvalidData { Kind::Corrupt } else { Kind::Failed };
        Error::new(stage, kind, label, "cannot unpack the directory dump").because(error)
    };
    let done = stream::transform(archive, wrap, move |reader, _| {
        fs::create_dir(&place)?;
        let mut tar = tar::Archive::new(&mut *reader);
        for entry in tar.entries()? {
            let mut entry = entry?;
            let path = entry.path()?.into_owned();
            let mut parts = path.components();
            let plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
            if !plain || !entry.header().entry_type().is_file() {
                let message = format!("holds \"{}\", which pg_dump does not write", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(place.join(&path))?;
            io::copy(&mut entry, &mut file)?;
        }
        // What follows the last file must be read, so that the stream's own end is seen.
        io::copy(reader, &mut io::sink()).map(drop)
    });
    stream::drain(done).await
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
    async fn a_folder_comes_back_as_it_was_and_leaves_nothing_behind() {
        let source = sample();
        let gone = source.path().to_owned();
        let target = tempfile::tempdir().unwrap();
        unpack(pack(source), target.path(), Stage::Restore, "appdb").await.unwrap();
        assert_eq!(fs::read_to_string(target.path().join("dump/1.dat.gz")).unwrap(), "one");
        assert_eq!(fs::read_dir(target.path().join("dump")).unwrap().count(), 3);
        assert!(!gone.exists());
    }

    #[tokio::test]
    async fn a_tar_cannot_climb_out_of_its_folder() {
        for name in ["../evil", "/tmp/evil", "a/b"] {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(0);
            header.set_cksum();
            let mut tar = tar::Builder::new(Vec::new());
            tar.append(&header, io::empty()).unwrap();
            let archive = stream::from_bytes(tar.into_inner().unwrap());
            let target = tempfile::tempdir().unwrap();
            let error = unpack(archive, target.path(), Stage::Restore, "appdb").await.unwrap_err();
            assert_eq!(error.kind(), Kind::Corrupt, "{name}");
        }
    }

    #[tokio::test]
    async fn a_cut_tar_is_an_error() {
        let whole = stream::collect(pack(sample()), 1 << 20, Stage::Dump, "").await.unwrap();
        for length in [whole.len() / 4, 100] {
            let target = tempfile::tempdir().unwrap();
            let cut = stream::from_bytes(whole.slice(..length));
            assert!(unpack(cut, target.path(), Stage::Restore, "appdb").await.is_err(), "{length}");
        }
    }
}
