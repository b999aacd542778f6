//! Ciphertext on a local disk: rsync sends files, not streams. Private, and gone when it has been sent or cannot be.

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

/// How the names of spooled files begin, and end.
const PREFIX: &str = "longshore-";
const SUFFIX: &str = ".spool";

/// A folder for ciphertext.
#[derive(Debug, Clone)]
pub(crate) struct Spool {
    folder: PathBuf,
}

/// A file in the spool. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Spooled {
    /// Where it is.
    pub(crate) path: TempPath,
    /// What is in it.
    pub(crate) digest: Digest,
}

impl Spool {
    /// The folder that is configured, or the one that is usual for whoever runs this.
    pub(crate) fn new(configured: Option<PathBuf>) -> Result<Self> {
        let usage =
            |message: String, hint: &str| Error::new(Stage::Config, Kind::Usage, "spool_dir", message).hint(hint);
        match configured {
            Some(folder) if folder.is_absolute() => Ok(Self { folder }),
            Some(folder) => Err(usage(
                format!("\"{}\" is not absolute", folder.display()),
                "write it from the root, such as \"/var/spool/longshore\"",
            )),
            None => usual().map(|folder| Self { folder }).ok_or_else(|| {
                usage("there is no HOME to put it in".to_owned(), "set spool_dir to a folder on a local disk")
            }),
        }
    }

    /// Makes the folder if it is missing; one that others may look into is refused.
    pub(crate) fn ensure(&self) -> Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(|error| self.failure("cannot make the folder", error))?;
        let found = fs::metadata(&self.folder).map_err(|error| self.failure("cannot look at the folder", error))?;
        if found.mode() & 0o077 != 0 {
            let error = Error::new(
                Stage::Ship,
                Kind::Refused,
                self.name(),
                "others may look into the folder for spooled files",
            );
            return Err(error.hint("take that away (chmod 700), or set spool_dir to another"));
        }
        Ok(())
    }

    /// A new file in it, for its owner's eyes alone.
    pub(crate) fn file(&self) -> Result<NamedTempFile> {
        self.ensure()?;
        let file = tempfile::Builder::new().prefix(PREFIX).suffix(SUFFIX).tempfile_in(&self.folder);
        file.map_err(|error| self.failure("cannot make a file in the folder", error))
    }

    /// Writes all of `body`. What fails leaves nothing.
    pub(crate) async fn take(&self, body: ByteStream) -> Result<Spooled> {
        let (file, path) = self.file()?.into_parts();
        let mut file = tokio::fs::File::from_std(file);
        let (mut body, digest) = meter(body, Algorithm::Sha256, |_| {});
        while let Some(chunk) = body.next().await {
            file.write_all(&chunk?).await.map_err(|error| self.failure("cannot write", error))?;
        }
        file.flush().await.map_err(|error| self.failure("cannot write", error))?;
        let digest = digest.get().cloned();
        let digest = digest
            .ok_or_else(|| Error::new(Stage::Ship, Kind::Failed, self.name(), "the body ended without its digest"))?;
        Ok(Spooled { path, digest })
    }

    /// Gives a spooled file a name, in a folder of its own that is gone when it is dropped.
    pub(crate) fn named(&self, spooled: &Spooled, name: &str) -> Result<(TempDir, PathBuf)> {
        let folder = tempfile::Builder::new().prefix(PREFIX).suffix(SUFFIX).tempdir_in(&self.folder);
        let folder = folder.map_err(|error| self.failure("cannot make a folder in the folder", error))?;
        let path = folder.path().join(name);
        fs::hard_link(&spooled.path, &path).map_err(|error| self.failure("cannot name a spooled file", error))?;
        Ok((folder, path))
    }

    /// What interrupted writers left in it, with what is being sent.
    pub(crate) fn leftovers(&self) -> Result<Vec<Leftover>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.failure("cannot read the folder", error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| self.failure("cannot read the folder", error))?.path();
            // One that has gone meanwhile is none.
            let Some((bytes, since)) =
                path.symlink_metadata().ok().and_then(|found| Some((found.len(), found.modified().ok()?)))
            else {
                continue;
            };
            let leftover = Leftover { name: path.display().to_string(), bytes: Some(bytes), since: since.into() };
            found.extend(self.holds(&leftover).then_some(leftover));
        }
        Ok(found)
    }

    /// Whether a leftover is a spooled file.
    pub(crate) fn holds(&self, leftover: &Leftover) -> bool {
        let path = Path::new(&leftover.name);
        let name = path.file_name().and_then(|name| name.to_str());
        path.parent() == Some(&self.folder)
            && name.is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX))
    }

    /// Removes one.
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

    /// What errors call it.
    pub(crate) fn name(&self) -> String {
        self.folder.display().to_string()
    }

    fn failure(&self, message: &str, error: io::Error) -> Error {
        let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let message = if full { "no space left for spooled files" } else { message };
        let error = Error::io(Stage::Ship, self.name(), message, error);
        error.hint("set spool_dir to a folder on a local disk with room for the largest artifact, or use type \"ssh\", which needs none")
    }
}

/// The folder that is usual: the system's for root, else one of the user's own.
fn usual() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some("/var/spool/longshore".into());
    }
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state.join("longshore/spool"))
}
