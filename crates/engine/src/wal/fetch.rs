//! Returning a file that recovery asks for.
//!
//! PostgreSQL takes most failures of `restore_command` for the end of the WAL, and promotes the
//! server without the rest. So absence is an answer only if every destination was asked and none
//! has the file, and a file is delivered only if its content was checked to the last record.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use longshore_config::registry::Registry;
use longshore_config::{Config, WalArchive};
use longshore_core::compress::decompress;
use longshore_core::pipeline::decrypt_stored;
use longshore_core::plugin::Identities;
use longshore_core::stage::Decrypt;
use longshore_core::stream::{ByteStream, collect, from_bytes};
use longshore_core::wal_key::{WalFolder, WalKey};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_wal::ArchiveName;
use longshore_pg_wal::archive_name::FileSize;
use longshore_pg_wal::segment::SegmentSize;
use tempfile::NamedTempFile;

use crate::headers::with_headers;
use crate::wal::ahead::Ahead;
use crate::wal::archive::{ArchiveAt, open_all};
use crate::wal::blocking;
use crate::wal::control::control_of;
use crate::wal::file::check_and_digest;

/// The time after which a destination is so distant that segments are fetched from it in advance.
const DISTANT: Duration = Duration::from_millis(10);

/// The answer to a request for a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetched {
    /// The file is in its place.
    Delivered,
    /// No destination has the file, and all of them were asked.
    Absent,
}

/// Fetches a file of the archive to `target`, such as `pg_wal/RECOVERYXLOG` in the working
/// directory.
///
/// # Errors
///
/// Fails with [`Kind::Corrupt`] if every copy of the file is damaged. All other errors mean that a
/// destination could not be asked, so that the file may exist.
pub async fn fetch(
    config: &Config,
    registry: &Registry,
    settings: &WalArchive,
    identities: &Identities,
    (name, target): (ArchiveName, &Path),
) -> Result<Fetched> {
    let control = {
        let target = target.to_owned();
        blocking(move || control_of(&target)).await?
    };
    let folder = WalFolder { cluster: settings.cluster.clone(), system_identifier: control.system_identifier };
    let archives = open_all(config, settings, &folder);
    let begun = Instant::now();
    let (found, mut errors) = find(&archives, name).await;
    let is_distant = begun.elapsed() >= DISTANT;
    if let Some(other) = found.iter().find(|(_, file)| found.iter().any(|(_, first)| first.digest != file.digest)) {
        return Err(ambiguous(name, &other.1));
    }
    let reader =
        Reader { registry, identities, system_identifier: folder.system_identifier, size: control.wal_segment_size };
    let deliver = async |content: Bytes| {
        let target = target.to_owned();
        blocking(move || write(&target, &content)).await
    };
    let ahead = Ahead::open(config, &folder);
    for (archive, file) in &found {
        if let Some(sealed) = ahead.as_ref().and_then(|ahead| ahead.take(file))
            && let Ok(content) = reader.open(archive, sealed, file).await
        {
            return deliver(content).await.map(|()| Fetched::Delivered);
        }
    }
    for (archive, file) in &found {
        match reader.read(archive, file).await {
            Ok(content) => {
                deliver(content).await?;
                if let Some(ahead) = ahead.filter(|_| is_distant) {
                    ahead.fill(archive, name, reader.size).await;
                }
                return Ok(Fetched::Delivered);
            }
            Err(error) => errors.push(error),
        }
    }
    // An error that may pass comes first: while a destination cannot be asked, nothing is proven.
    errors.sort_by_key(|error| error.kind() == Kind::Corrupt);
    match errors.into_iter().next() {
        Some(error) => Err(error),
        None => expect_archive(&archives, &folder).await.map(|()| Fetched::Absent),
    }
}

/// Looks for a file at all destinations. Returns those that have it, and the errors of those that
/// could not be asked.
async fn find(archives: &[(String, Result<ArchiveAt>)], name: ArchiveName) -> (Vec<(&ArchiveAt, WalKey)>, Vec<Error>) {
    let listed = archives.iter().map(async |(_, archive)| {
        let archive = archive.as_ref().map_err(Clone::clone)?;
        Ok((archive, archive.list(name).await?))
    });
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for listed in join_all(listed).await {
        match listed {
            Ok((archive, files)) => found.extend(files.into_iter().map(|file| (archive, file))),
            Err(error) => errors.push(error),
        }
    }
    (found, errors)
}

/// Fails if a destination contains no file of the archive at all: it is probably another place, or
/// its disk is not mounted.
async fn expect_archive(archives: &[(String, Result<ArchiveAt>)], folder: &WalFolder) -> Result<()> {
    for (name, archive) in archives {
        if archive.as_ref().map_err(Clone::clone)?.is_empty().await? {
            let message = format!("\"{name}\" has no archive of the system identifier {}", folder.system_identifier);
            return Err(Error::new(Stage::Ship, Kind::NotFound, &folder.cluster, message)
                .hint("compare the destinations with those of the host that archives, or omit this one from [cluster.NAME.wal]"));
        }
    }
    Ok(())
}

/// Reads files of an archive.
pub(crate) struct Reader<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) identities: &'a Identities,
    pub(crate) system_identifier: u64,
    pub(crate) size: SegmentSize,
}

impl Reader<'_> {
    /// Returns the content of a file, checked to the last record.
    pub(crate) async fn read(&self, archive: &ArchiveAt, file: &WalKey) -> Result<Bytes> {
        self.checked(self.stored_content(archive, file).await?, file).await
    }

    /// Returns the content of a file whose stored bytes are at hand, checked to the last record.
    async fn open(&self, archive: &ArchiveAt, sealed: Bytes, file: &WalKey) -> Result<Bytes> {
        let content = match self.content(from_bytes(sealed.clone()), file, self.decryptor(file)?).await {
            Err(error) if error.kind() == Kind::Denied => {
                let Some(decryptor) = self.decryptor_with_headers(archive, file).await? else { return Err(error) };
                self.content(from_bytes(sealed), file, Some(decryptor)).await
            }
            content => content,
        };
        self.checked(content?, file).await
    }

    /// Fetches and decrypts a file, by a header beside it if no identity opens its own.
    async fn stored_content(&self, archive: &ArchiveAt, file: &WalKey) -> Result<Bytes> {
        let sealed = archive.store.fetch(&file.key, None).await?;
        match self.content(sealed, file, self.decryptor(file)?).await {
            Err(error) if error.kind() == Kind::Denied => {
                let Some(decryptor) = self.decryptor_with_headers(archive, file).await? else { return Err(error) };
                self.content(archive.store.fetch(&file.key, None).await?, file, Some(decryptor)).await
            }
            content => content,
        }
    }

    /// Returns the decryption by the headers beside a file, if there are any.
    async fn decryptor_with_headers(&self, archive: &ArchiveAt, file: &WalKey) -> Result<Option<Box<dyn Decrypt>>> {
        let mut headers = archive.headers(Some(file.name)).await?;
        headers.retain(|header| header.sealed == file.key);
        headers.sort();
        match self.decryptor(file)? {
            Some(own) if !headers.is_empty() => {
                Ok(Some(with_headers(own, headers.iter().rev(), &[&*archive.store]).await))
            }
            _ => Ok(None),
        }
    }

    /// Returns the size of a segment, which is that of its content.
    pub(crate) async fn size_of(&self, archive: &ArchiveAt, file: &WalKey) -> Result<SegmentSize> {
        let content = self.stored_content(archive, file).await?;
        SegmentSize::new(content.len() as u64).map_err(|error| {
            Error::new(Stage::Verify, Kind::Corrupt, file.key.as_str(), "has not the size of a segment").because(error)
        })
    }

    /// Returns the content of a file after checking it to the last record.
    async fn checked(&self, content: Bytes, file: &WalKey) -> Result<Bytes> {
        let (name, system_identifier, size, expected) = (file.name, self.system_identifier, self.size, file.digest);
        let key = file.key.clone();
        blocking(move || {
            let damaged = |message: String| Error::new(Stage::Verify, Kind::Corrupt, key.as_str(), message);
            let (found, checked) = check_and_digest(name, &content, system_identifier, size);
            if found != expected {
                return Err(damaged(format!("the content has the digest {found}")));
            }
            match checked {
                Ok(None) => Ok(content),
                Ok(Some(damage)) => Err(damaged(damage)),
                Err(error) => Err(damaged("not the content of this name".to_owned()).because(error)),
            }
        })
        .await
    }

    /// Decrypts a file, and returns its content, which is at most as large as the name permits.
    async fn content(&self, sealed: ByteStream, file: &WalKey, decryptor: Option<Box<dyn Decrypt>>) -> Result<Bytes> {
        let subject = file.key.as_str();
        let (compressed, cause) = match decryptor {
            None => (sealed, None),
            Some(decryptor) => {
                let (compressed, cause) = decrypt_stored(&*decryptor, sealed, subject).await?;
                (compressed, Some(cause))
            }
        };
        let (FileSize::Exactly(limit) | FileSize::AtMost(limit)) = file.name.file_size(self.size);
        let content = collect(decompress(compressed, subject), limit as usize, Stage::Verify, subject).await;
        content.map_err(|error| match cause {
            Some(cause) => cause.of(error),
            None => error,
        })
    }

    /// Returns the decryption of a file by its own header, if it is encrypted.
    fn decryptor(&self, file: &WalKey) -> Result<Option<Box<dyn Decrypt>>> {
        let subject = file.key.as_str();
        match self.encryption(file)? {
            None => Ok(None),
            Some(encryption) if !self.registry.can_decrypt(encryption, self.identities) => {
                Err(self.registry.missing_decryption(encryption, None, subject))
            }
            Some(encryption) => self.registry.decryption(encryption, self.identities).map(Some),
        }
    }

    /// Returns the encryption of a file, by the suffix of its key.
    pub(crate) fn encryption<'k>(&self, file: &'k WalKey) -> Result<Option<&'k str>> {
        let suffix = file.key.file_name().rsplit_once(".zst").map(|(_, suffix)| suffix);
        match suffix.map(|suffix| suffix.strip_prefix('.').unwrap_or(suffix)) {
            Some("") => Ok(None),
            Some(encryption) => Ok(Some(encryption)),
            None => {
                let message = "has a suffix that this version does not know";
                Err(Error::new(Stage::Decrypt, Kind::Refused, file.key.as_str(), message))
            }
        }
    }
}

/// Writes a file whole: under another name first, as PostgreSQL may read it at once. The server
/// itself makes the file durable before it keeps it.
fn write(target: &Path, content: &[u8]) -> Result<()> {
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = || -> std::io::Result<()> {
        let mut file = NamedTempFile::with_prefix_in("longshore-", folder)?;
        file.write_all(content)?;
        file.persist(target)?;
        Ok(())
    };
    written().map_err(|error| {
        Error::io(Stage::Restore, target.display().to_string(), "cannot write the file", error)
            .hint("free some space, and start the server again: recovery continues")
    })
}

pub(super) fn ambiguous(name: ArchiveName, file: &WalKey) -> Error {
    let message = "the archive has two files of this name with different content";
    Error::new(Stage::Ship, Kind::Corrupt, name.to_string(), message).hint(format!(
        "two servers archived as one cluster; find out which of the files belongs to the lost one, such as {}, and move the other away",
        file.key
    ))
}
