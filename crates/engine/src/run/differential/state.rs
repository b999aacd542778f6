//! The digests of full backups on this host, and the facts about them.
//!
//! ```text
//! state_dir/differential/nightly-1f0c9a7e/                 the folder of a job
//!     shop.json                                            the last full backup of a database
//!     shop.2026-11-29_030000.blocks                        the digests of its blocks
//!     shop.new-4f1kP2                                      digests of a dump in progress
//! ```
//! The name of the folder contains the job and the digest of the configuration's path. The facts
//! contain the key of the digests, so only their owner can read them.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use longshore_config::{Config, Differential as Settings, Job};
use longshore_core::difference::{Key, Signature, Summary, signature_bytes};
use longshore_core::key::{BackupName, Timestamp};
use longshore_core::manifest::Manifest;
use longshore_core::meter::{Digest, hex};
use longshore_core::stage::Encrypt;
use longshore_core::subject::Subject;
use longshore_core::{Error, Result, Stage, regular_file};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::destination_state::state_dir;

/// The folder of the state, in `state_dir`.
const FOLDER: &str = "differential";

/// The end of the name of a file of digests.
const BLOCKS: &str = ".blocks";

/// The number of differences whose sizes are kept, from which the size of the next is estimated.
const SIZES: usize = 2;

/// The last full backup of a database, made by this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FullState {
    pub(super) full: BackupName,
    /// The digest of its plaintext.
    pub(super) plaintext: Digest,
    encryption: Option<String>,
    /// The fingerprints of what decides who can decrypt: a reader of a difference must be able to
    /// decrypt the full backup, too.
    recipients: Vec<String>,
    /// The destinations that received it.
    pub(super) destinations: BTreeSet<String>,
    block_bytes: u32,
    blocks: u64,
    /// The key of the digests, in hexadecimal.
    key: String,
    /// The digest of the file of digests.
    digest: String,
    /// The size of the artifact in bytes.
    stored_bytes: u64,
    /// The sizes of the artifacts of the last differences in bytes, the newest last.
    differences: Vec<u64>,
}

/// The state that a backup in progress will leave.
pub(super) struct NewState {
    subject: Subject,
    /// The full backup that the dump is compared with.
    pub(super) compared: Option<FullState>,
    /// The key of the new digests.
    pub(super) key: Key,
    blocks: NamedTempFile,
}

impl NewState {
    /// Returns the file for the digests of a new full backup.
    pub(super) fn file(&self) -> Result<File> {
        self.blocks.as_file().try_clone().map_err(|error| failed(self.blocks.path(), error))
    }
}

impl FullState {
    /// Returns the state after a full backup.
    pub(super) fn new(
        manifest: &Manifest,
        destinations: Vec<String>,
        encrypt: Option<&dyn Encrypt>,
        new: &NewState,
        settings: &Settings,
        summary: Summary,
    ) -> Result<Self> {
        Ok(Self {
            full: manifest.name()?,
            plaintext: manifest.artifact.plaintext.clone(),
            encryption: encrypt.map(|encrypt| encrypt.name().to_owned()),
            recipients: encrypt.map(Encrypt::reader_fingerprints).unwrap_or_default(),
            destinations: destinations.into_iter().collect(),
            block_bytes: settings.block_bytes(),
            blocks: summary.blocks,
            key: hex(&new.key.0),
            digest: hex(&summary.digest),
            stored_bytes: manifest.artifact.sealed.bytes,
            differences: Vec::new(),
        })
    }

    /// Returns true if the next backup must be a full one by the settings, or if the next
    /// difference is expected to be larger than half of the full backup, as stored. A full backup
    /// that a wrong clock dated in the future is no base, either.
    pub(super) fn is_full_due(&self, settings: &Settings, now: DateTime<Utc>) -> bool {
        let Some(time) = self.full.time().map(|time| time.time()) else { return true };
        now - time >= settings.full_age() || time >= now || self.exceeds_half()
    }

    fn exceeds_half(&self) -> bool {
        let (newest, before) = match *self.differences {
            [] => return false,
            [only] => (only, only),
            [.., before, newest] => (newest, before),
        };
        let expected = u128::from(newest) + u128::from(newest.saturating_sub(before));
        2 * expected > u128::from(self.stored_bytes)
    }

    /// Returns the size of a difference in percent of the full backup's, as stored.
    pub(super) fn percent(&self, difference_bytes: u64) -> u128 {
        u128::from(difference_bytes) * 100 / u128::from(self.stored_bytes.max(1))
    }

    /// Returns true if no difference was made yet.
    pub(super) fn has_no_difference(&self) -> bool {
        self.differences.is_empty()
    }

    /// Returns the reason why the settings of the job exclude a difference, if there is one.
    pub(super) fn unfit(&self, settings: &Settings, encrypt: Option<&dyn Encrypt>) -> Option<String> {
        let full = &self.full;
        if self.block_bytes != settings.block_bytes() {
            return Some(format!("{full} was compared in blocks of {} bytes", self.block_bytes));
        }
        let recipients = encrypt.map(Encrypt::reader_fingerprints).unwrap_or_default();
        let is_same = self.encryption.as_deref() == encrypt.map(Encrypt::name) && self.recipients == recipients;
        (!is_same).then(|| format!("{full} is encrypted to other recipients"))
    }
}

/// The folder of a job's state.
pub(super) struct StateFolder(PathBuf);

impl StateFolder {
    /// Returns the folder of a job, and creates it.
    pub(super) fn of(config: &Config, job: &Job) -> Result<Self> {
        let path = state_dir(config)?.join(FOLDER).join(format!("{}-{}", job.name, config.digest()));
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(|error| failed(&path, error))?;
        Ok(Self(path))
    }

    fn facts(&self, subject: &Subject) -> PathBuf {
        self.0.join(format!("{}.json", subject.segment()))
    }

    fn blocks(&self, subject: &Subject, full: &BackupName) -> PathBuf {
        let time = full.time().map(|time| time.to_string()).unwrap_or_default();
        self.0.join(format!("{}.{time}{BLOCKS}", subject.segment()))
    }

    /// Reads the state of a database. Returns `None` before its first full backup.
    pub(super) fn read(&self, subject: &Subject) -> Result<Option<FullState>> {
        let path = self.facts(subject);
        match regular_file::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| failed(&path, error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&path, error)),
        }
    }

    /// Opens the digests of a full backup, and compares them with the facts.
    pub(super) async fn open(&self, subject: &Subject, state: &FullState) -> Result<Signature<File>> {
        let path = self.blocks(subject, &state.full);
        let invalid = || failed(&path, io::ErrorKind::InvalidData.into());
        let (key, digest) = (parse_hex(&state.key).ok_or_else(invalid)?, parse_hex(&state.digest).ok_or_else(invalid)?);
        let (summary, block_bytes) = (Summary { blocks: state.blocks, digest }, state.block_bytes);
        let file = path.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let file = regular_file::open(&file, File::options().read(true))?;
            Signature::open(file, &Key(key), block_bytes, &summary)
        });
        opened.await.map_err(io::Error::other).flatten().map_err(|error| failed(&path, error))
    }

    /// Fails if the digests of a full backup are missing, or have another size.
    pub(super) fn expect_blocks(&self, subject: &Subject, state: &FullState) -> Result<()> {
        let path = self.blocks(subject, &state.full);
        let found = fs::metadata(&path).map_err(|error| failed(&path, error))?;
        if found.len() == signature_bytes(state.blocks) {
            return Ok(());
        }
        Err(failed(&path, io::ErrorKind::InvalidData.into()))
    }

    /// Returns the free space for digests, in bytes.
    pub(super) fn free_bytes(&self) -> Result<u64> {
        let found = rustix::fs::statvfs(&self.0).map_err(|error| failed(&self.0, error.into()))?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// Begins the state after a backup. Removes what killed runs left, but not the digests that the
    /// facts name: until the new backup is stored, the last full one is that of the facts.
    pub(super) fn create(&self, subject: &Subject, compared: Option<FullState>) -> Result<NewState> {
        let created = || -> io::Result<NewState> {
            // Facts that cannot be read name no digests.
            let known = self.read(subject).ok().flatten();
            self.remove_unused(subject, compared.as_ref().or(known.as_ref()).map(|state| &state.full))?;
            let mut key = [0; 32];
            File::open("/dev/urandom")?.read_exact(&mut key)?;
            let blocks = tempfile::Builder::new().prefix(&new_prefix(subject)).tempfile_in(&self.0)?;
            Ok(NewState { subject: subject.clone(), compared, key: Key(key), blocks })
        };
        created().map_err(|error| failed(&self.0, error))
    }

    /// Writes the state after a full backup.
    pub(super) fn write(&self, new: NewState, state: &FullState) -> Result<()> {
        let NewState { subject, blocks, .. } = new;
        let written = || -> io::Result<()> {
            blocks.persist(self.blocks(&subject, &state.full))?;
            self.write_facts(&subject, state)?;
            self.remove_unused(&subject, Some(&state.full))
        };
        written().map_err(|error| failed(&self.0, error))
    }

    /// Adds the size of a difference, as stored, to the state.
    pub(super) fn add_difference(&self, new: NewState, stored_bytes: u64) -> Result<()> {
        let NewState { subject, compared: Some(mut state), .. } = new else { return Ok(()) };
        state.differences.push(stored_bytes);
        let surplus = state.differences.len().saturating_sub(SIZES);
        state.differences.drain(..surplus);
        self.write_facts(&subject, &state).map_err(|error| failed(&self.0, error))
    }

    fn write_facts(&self, subject: &Subject, state: &FullState) -> io::Result<()> {
        let mut facts = tempfile::Builder::new().prefix(&new_prefix(subject)).tempfile_in(&self.0)?;
        serde_json::to_writer(&mut facts, state)?;
        facts.write_all(b"\n")?;
        facts.as_file().sync_all()?;
        facts.persist(self.facts(subject))?;
        Ok(())
    }

    /// Removes the facts of a database, so that its next backup is a full one.
    pub(super) fn forget(&self, subject: &Subject) -> Result<()> {
        let path = self.facts(subject);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&path, error)),
            _ => Ok(()),
        }
    }

    /// Removes the digests of a database, except those of one full backup.
    fn remove_unused(&self, subject: &Subject, used: Option<&BackupName>) -> io::Result<()> {
        let used = used.map(|full| self.blocks(subject, full));
        let (prefix, new_prefix) = (format!("{}.", subject.segment()), new_prefix(subject));
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let time = name.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(BLOCKS));
            let is_of_blocks = time.is_some_and(|time| Timestamp::parse(time).is_some());
            // The random part of a temporary name has no dot.
            let is_left = name.strip_prefix(&new_prefix).is_some_and(|rest| !rest.contains('.'));
            if is_left || is_of_blocks && Some(entry.path()) != used {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Returns the error of digests that could not be written.
    pub(super) fn failed_write(&self, error: &io::Error) -> Error {
        failed(&self.0, io::Error::new(error.kind(), error.to_string()))
    }
}

/// Returns the beginning of the names of files that are being written.
fn new_prefix(subject: &Subject) -> String {
    format!("{}.new-", subject.segment())
}

/// Parses 32 bytes in hexadecimal.
fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

fn failed(path: &Path, error: io::Error) -> Error {
    let kind = error.kind();
    let failed = Error::io(Stage::Dump, path.display().to_string(), "cannot use the state of differences", error);
    match kind {
        // A full backup replaces them.
        io::ErrorKind::NotFound | io::ErrorKind::InvalidData => failed,
        _ => failed.hint("set state_dir in the configuration to a folder that this user can write to"),
    }
}
