//! The spool of ciphertext on a local disk: rsync sends files, not streams. Spooled files are
//! private, and removed after the transfer or its failure.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use longshore_core::meter::{Algorithm, Digest, meter};
use longshore_core::stage::Leftover;
use longshore_core::stream::ByteStream;
use longshore_core::{Error, Kind, Result, Stage};
use tempfile::{NamedTempFile, TempDir, TempPath};
use tokio::io::AsyncWriteExt;

/// The prefix and the suffix of the names of spooled files.
const PREFIX: &str = "longshore-";
const SUFFIX: &str = ".spool";

/// The directory of the spool.
#[derive(Debug, Clone)]
pub(crate) struct Spool {
    folder: PathBuf,
}

/// A file in the spool. Dropping it removes the file.
#[derive(Debug)]
pub(crate) struct SpooledFile {
    /// The path of the file.
    pub(crate) path: TempPath,
    /// The digest of the content.
    pub(crate) digest: Digest,
}

impl Spool {
    /// Returns the configured directory, or the default of the current user.
    pub(crate) fn new(configured: Option<PathBuf>) -> Result<Self> {
        let usage =
            |message: String, hint: &str| Error::new(Stage::Config, Kind::Usage, "spool_dir", message).hint(hint);
        match configured {
            Some(folder) if folder.is_absolute() => Ok(Self { folder }),
            Some(folder) => Err(usage(
                format!("\"{}\" is not absolute", folder.display()),
                "use an absolute path, such as \"/var/spool/longshore\"",
            )),
            None => default_folder().map(|folder| Self { folder }).ok_or_else(|| {
                usage("no default: HOME is not set".to_owned(), "set spool_dir to a directory on a local disk")
            }),
        }
    }

    /// Creates the directory if it is missing. Fails if other users can access it.
    pub(crate) fn ensure(&self) -> Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(|error| self.failure("cannot create the directory", error))?;
        let metadata =
            fs::metadata(&self.folder).map_err(|error| self.failure("cannot inspect the directory", error))?;
        if metadata.mode() & 0o077 != 0 {
            let error =
                Error::new(Stage::Ship, Kind::Refused, self.name(), "the spool directory is accessible to other users");
            return Err(error.hint("run `chmod 700`, or set spool_dir to another directory"));
        }
        Ok(())
    }

    /// Creates a file in the spool, private to its owner.
    pub(crate) fn create_file(&self) -> Result<NamedTempFile> {
        self.ensure()?;
        let file = tempfile::Builder::new().prefix(PREFIX).suffix(SUFFIX).tempfile_in(&self.folder);
        file.map_err(|error| self.failure("cannot create a file in the directory", error))
    }

    /// Writes the whole `body`. A failure leaves nothing.
    pub(crate) async fn write(&self, body: ByteStream) -> Result<SpooledFile> {
        let (file, path) = self.create_file()?.into_parts();
        let mut file = tokio::fs::File::from_std(file);
        let (mut body, digest) = meter(body, Algorithm::Sha256, |_| {});
        while let Some(chunk) = body.next().await {
            file.write_all(&chunk?).await.map_err(|error| self.failure("cannot write", error))?;
        }
        file.flush().await.map_err(|error| self.failure("cannot write", error))?;
        let digest = digest.get().cloned();
        let digest = digest
            .ok_or_else(|| Error::new(Stage::Ship, Kind::Failed, self.name(), "the body ended without its digest"))?;
        Ok(SpooledFile { path, digest })
    }

    /// Links a spooled file under a name of its own, in a directory that is deleted when the result
    /// is dropped.
    pub(crate) fn link_as(&self, spooled: &SpooledFile, name: &str) -> Result<(TempDir, PathBuf)> {
        let folder = tempfile::Builder::new().prefix(PREFIX).suffix(SUFFIX).tempdir_in(&self.folder);
        let folder = folder.map_err(|error| self.failure("cannot create a directory in the spool", error))?;
        let path = folder.path().join(name);
        fs::hard_link(&spooled.path, &path).map_err(|error| self.failure("cannot link a spooled file", error))?;
        Ok((folder, path))
    }

    /// Returns the leftovers of interrupted writers, and the files that are being sent.
    pub(crate) fn leftovers(&self) -> Result<Vec<Leftover>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.failure("cannot read the directory", error)),
        };
        let mut leftovers = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| self.failure("cannot read the directory", error))?.path();
            // The file may have been removed in the meantime.
            let Some((bytes, since)) =
                path.symlink_metadata().ok().and_then(|metadata| Some((metadata.len(), metadata.modified().ok()?)))
            else {
                continue;
            };
            let leftover = Leftover { name: path.display().to_string(), bytes: Some(bytes), since: since.into() };
            leftovers.extend(self.contains(&leftover).then_some(leftover));
        }
        Ok(leftovers)
    }

    /// Returns true if a leftover is a spooled file.
    pub(crate) fn contains(&self, leftover: &Leftover) -> bool {
        let path = Path::new(&leftover.name);
        let name = path.file_name().and_then(|name| name.to_str());
        path.parent() == Some(&self.folder)
            && name.is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX))
    }

    /// Removes a leftover.
    pub(crate) fn discard(&self, leftover: &Leftover) -> Result<()> {
        let removed = match Path::new(&leftover.name).is_dir() {
            true => fs::remove_dir_all(&leftover.name),
            false => fs::remove_file(&leftover.name),
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.failure("cannot remove a spooled file", error))
            }
            _ => Ok(()),
        }
    }

    /// Returns the directory's name for errors.
    pub(crate) fn name(&self) -> String {
        self.folder.display().to_string()
    }

    fn failure(&self, message: &str, error: io::Error) -> Error {
        let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let message = if full { "no space left for spooled files" } else { message };
        let error = Error::io(Stage::Ship, self.name(), message, error);
        error.hint("set spool_dir to a directory on a local disk with space for the largest artifact, or use type = \"ssh\", which needs no spool")
    }
}

/// Returns the default directory: the system's for root, otherwise the user's own.
fn default_folder() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some("/var/spool/longshore".into());
    }
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state.join("longshore/spool"))
}
