//! Longshore's record of one backup, formats 1 and 2, documented in `FORMAT.md` and
//! `manifest.schema.json`.

mod chain;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::adopted_from::AdoptedFrom;
use crate::base::BaseFacts;
use crate::difference::Difference;
use crate::digest::Digest;
use crate::error::{Error, Kind, Result, Stage};
use crate::key::{BackupName, Key, Timestamp};
use crate::subject::{Subject, SubjectKind};

pub use crate::format::Format;
pub use crate::verification::Verification;

/// The format of manifests that 0.1.0 can read.
const FIRST_FORMAT: u32 = 1;
/// The format of base backups, differences, and backups in other programs' formats. 0.1.0 reports
/// it as unsupported, and leaves the backup alone.
const SECOND_FORMAT: u32 = 2;

/// The maximum size of a manifest in bytes.
pub const MAX_MANIFEST_BYTES: usize = 1 << 20;

/// The record of one backup. The backup exists if its manifest exists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Manifest {
    /// The manifest's format: 2 for a base backup, a difference, or a backup in another program's
    /// format, else 1.
    pub format: u32,
    /// The version of Longshore that wrote the manifest.
    pub longshore: String,
    /// The job that made the backup.
    pub job: String,
    /// The run's id, shared by all backups of the run.
    pub run: String,
    /// The number of backups that the run was to make, including this one: distinguishes a complete
    /// run from a partial one.
    pub run_backups: u32,
    /// The time of the run in UTC, to the second, used by retention and in the keys.
    pub time: Timestamp,
    /// The beginning of this artifact's dump, in UTC.
    pub started: DateTime<Utc>,
    /// The end of the dump, after the last byte was encrypted, in UTC.
    pub finished: DateTime<Utc>,
    /// The cluster of the backup.
    pub cluster: Cluster,
    /// The subject of the backup.
    pub subject: Subject,
    /// The properties with which to create the database for a restore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseFacts>,
    /// The facts of a base backup, if its verifier found them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<BaseFacts>,
    /// The file of another program that the backup was made of, if it was made of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted_from: Option<AdoptedFrom>,
    /// The program that made the dump.
    pub tool: Tool,
    /// The way to restore a backup in another program's format, in the words of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
    /// The stored artifact.
    pub artifact: Artifact,
    /// The stored details, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<SealedFile>,
    /// The verifiers that checked the plaintext during the dump. Empty if there were none.
    pub verified: Vec<Verification>,
    /// Parts of the subject that could not be captured, such as role passwords.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_captured: Vec<String>,
    /// Parts of the cluster that no backup of the run contains, such as databases that allow
    /// no connections.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub run_not_captured: Vec<String>,
    /// Warnings of the program that made the dump. With encryption they are in the details instead,
    /// since they name tables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The names of the backups that a full restore of this one needs, such as the globals of the
    /// same run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<BackupName>,
    /// The result at each destination of the run, as known when this manifest was written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shipments: Vec<Shipment>,
    /// A fingerprint of each recipient: the first 16 hexadecimal digits of the SHA-256 of the
    /// recipient's text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
}

/// The cluster of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Cluster {
    /// The cluster's name in the configuration.
    pub name: String,
    /// The cluster's server.
    #[serde(flatten)]
    pub server: Server,
}

/// The properties of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Server {
    /// The server's version, such as `17.4`.
    pub server_version: String,
    /// PostgreSQL's system identifier of the cluster, in decimal, if the role may read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_identifier: Option<String>,
}

/// The properties with which to create a database for a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DatabaseFacts {
    /// The encoding's name, such as `UTF8`.
    pub encoding: String,
    /// `LC_COLLATE`.
    pub collate: String,
    /// `LC_CTYPE`.
    pub ctype: String,
    /// The locale provider: `libc`, `icu` or `builtin`.
    pub locale_provider: String,
    /// The provider's own locale, if the provider is not `libc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// `LC_MONETARY` of the dump's session, if the database has values of type `money`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monetary: Option<String>,
}

/// A program and its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Tool {
    /// The program's name, such as `pg_dump`.
    pub name: String,
    /// The program's version, such as `17.4`.
    pub version: String,
}

/// The stored bytes of one subject. To restore them, decrypt, then decompress, then read the
/// format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Artifact {
    /// The artifact's key in the destination.
    pub key: Key,
    /// The plaintext's format.
    pub format: Format,
    /// The compression after the dump: `zstd`, or absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<String>,
    /// The encryption: `age`, the name of an encryption by a program, such as `gpg`, or absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<String>,
    /// The way to decrypt the files of the backup if a program encrypted them, in the words of the
    /// configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decryption: Option<String>,
    /// The difference that the artifact contains; absent if it contains the whole dump.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<Box<Difference>>,
    /// The digest of the bytes that the dump program wrote.
    pub plaintext: Digest,
    /// The digest of the bytes in the destination.
    pub sealed: Digest,
}

/// A stored file: the artifact or its details.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SealedFile {
    /// The file's key in the destination.
    pub key: Key,
    /// The digest of the bytes in the destination.
    pub sealed: Digest,
}

/// The result of an upload to one destination.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Shipment {
    /// The destination's name in the configuration.
    pub destination: String,
    /// True if the upload was complete. A failed destination may have received a copy later.
    pub arrived: bool,
    /// The number of bytes uploaded.
    pub bytes: u64,
    /// The duration in seconds, from the beginning of the dump.
    pub seconds: f64,
}

impl Manifest {
    /// Returns the format of the manifest of a backup: the oldest one that can describe it.
    pub fn required_format(subject: &Subject, format: &Format, difference: Option<&Difference>) -> u32 {
        match (subject.kind(), format.is_dump() && difference.is_none()) {
            (SubjectKind::ClusterSql | SubjectKind::Database, true) => FIRST_FORMAT,
            (SubjectKind::ClusterFiles, _) | (_, false) => SECOND_FORMAT,
        }
    }

    /// Returns the backup's name: the one that 0.1.0 gave it, if the artifact has that name.
    pub fn name(&self) -> Result<BackupName> {
        let name = |segment: &str| BackupName::new(&self.cluster.name, segment, self.time);
        let former = self.subject.former_segment().map(name).transpose()?;
        match former.filter(|former| former.is_prefix_of(&self.artifact.key)) {
            Some(former) => Ok(former),
            None => name(&self.subject.segment()),
        }
    }

    /// Returns true for a base backup to which archived WAL can be added.
    pub fn begins_recovery(&self) -> bool {
        self.base.as_ref().is_some_and(|base| !base.crash_consistent)
    }

    /// Returns the earliest end of a recovery, by the server's clock if recorded, else the host's.
    pub fn recoverable_from(&self) -> DateTime<Utc> {
        self.base.as_ref().and_then(|base| base.finished).unwrap_or(self.finished)
    }

    /// Fails if the backup is not a dump of pg_dump or pg_dumpall.
    pub fn expect_dump(&self, stage: Stage) -> Result<()> {
        let format = &self.artifact.format;
        match self.subject.kind() {
            SubjectKind::ClusterSql | SubjectKind::Database if format.is_dump() => Ok(()),
            _ => Err(format.unsupported(stage, &self.subject.to_string())),
        }
    }

    /// Returns the keys of the backup in the order of deletion: the manifest first and the details
    /// last. While the details exist, an artifact without a manifest is recognized as Longshore's.
    pub fn keys(&self) -> Result<Vec<Key>> {
        let details = self.details.iter().map(|details| details.key.clone());
        Ok([self.name()?.manifest(), self.artifact.key.clone()].into_iter().chain(details).collect())
    }

    /// Returns the files of the backup, each with its digest, in the order of upload.
    pub fn files(&self) -> impl Iterator<Item = SealedFile> {
        let Artifact { key, sealed, .. } = self.artifact.clone();
        std::iter::once(SealedFile { key, sealed }).chain(self.details.clone())
    }

    /// Returns the stored form: JSON, formatted for reading.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(|error| {
            Error::new(Stage::Catalog, Kind::Failed, &self.job, "cannot write the manifest").because(error)
        })?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Releases unused capacity, since a catalog contains thousands of manifests.
    fn shrink(&mut self) {
        let Self { verified, not_captured, run_not_captured, warnings, needs, shipments, recipients, .. } = self;
        verified.shrink_to_fit();
        needs.shrink_to_fit();
        shipments.shrink_to_fit();
        [not_captured, run_not_captured, warnings, recipients].into_iter().for_each(Vec::shrink_to_fit);
    }

    /// Parses the manifest under `key`. Fails if its format is unknown, or if it belongs under
    /// another key.
    pub fn from_bytes(key: &Key, bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let bad = |message: String| Error::new(Stage::Catalog, Kind::Corrupt, key.as_str(), message);
        let read: Result<Self, _> = serde_json::from_slice(bytes);
        // Most manifests parse, so the format is only parsed separately after a failure.
        let format = match &read {
            Ok(manifest) => manifest.format,
            Err(_) => {
                let head: Result<Head, _> = serde_json::from_slice(bytes);
                head.map_err(|error| bad("not a manifest".into()).because(error))?.format
            }
        };
        if !(FIRST_FORMAT..=SECOND_FORMAT).contains(&format) {
            let message =
                format!("manifest format {format} is not supported, only formats {FIRST_FORMAT} and {SECOND_FORMAT}");
            let error = Error::new(Stage::Catalog, Kind::Refused, key.as_str(), message);
            return Err(error.hint("use the version of Longshore that wrote the manifest, or a newer one"));
        }
        let mut manifest = read.map_err(|error| bad("incomplete or invalid manifest".into()).because(error))?;
        manifest.shrink();
        let Self { subject, artifact, .. } = &manifest;
        if format < Self::required_format(subject, &artifact.format, artifact.difference.as_deref()) {
            let message =
                format!("manifest format {format} cannot describe \"{subject}\" in format \"{}\"", artifact.format);
            return Err(bad(message));
        }
        let name = manifest.name()?;
        if name.manifest() != *key {
            return Err(bad(format!("describes \"{name}\", which is another backup")));
        }
        if let Some(difference) = manifest.artifact.difference.as_ref().filter(|it| !manifest.needs.contains(&it.full))
        {
            return Err(bad(format!("does not need \"{}\", from which it is a difference", difference.full)));
        }
        let details = manifest.details.iter().map(|details| &details.key);
        for file_key in details.chain([&manifest.artifact.key]) {
            // Pruning deletes these files, so they must belong to this backup.
            if !name.is_prefix_of(file_key) {
                return Err(bad(format!("names \"{file_key}\", which is not part of \"{name}\"")));
            }
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::FormatName;

    fn sample() -> Manifest {
        serde_json::from_str(include_str!("../testdata/manifest-1.json")).unwrap()
    }

    #[test]
    fn manifest_format_1_round_trips() {
        let text = include_str!("../testdata/manifest-1.json");
        let key = sample().name().unwrap().manifest();
        let manifest = Manifest::from_bytes(&key, text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(manifest.to_bytes().unwrap()).unwrap(), text);
    }

    #[test]
    fn schema_matches_the_types() {
        let schema = serde_json::to_string_pretty(&schemars::schema_for!(Manifest)).unwrap() + "\n";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/manifest.schema.json");
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(path, &schema).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap();
        assert_eq!(written, schema, "rerun the test with UPDATE_SCHEMA=1 and review the difference");
    }

    #[test]
    fn manifest_format_2_round_trips() {
        let text = include_str!("../testdata/manifest-2.json");
        let key = Key::parse("main/base/base-2026-11-29_030000.json").unwrap();
        let manifest = Manifest::from_bytes(&key, text.as_bytes()).unwrap();
        assert_eq!((&manifest.subject, &manifest.artifact.format), (&Subject::Base, &Format::Base));
        assert_eq!(manifest.format, Manifest::required_format(&manifest.subject, &manifest.artifact.format, None));
        assert_eq!(String::from_utf8(manifest.to_bytes().unwrap()).unwrap(), text);
    }

    #[test]
    fn only_new_kinds_of_backups_need_format_2() {
        let dumps = [Format::Custom, Format::Plain, Format::Tar, Format::Directory];
        let other = Format::Other(FormatName::new("mysqldump").unwrap());
        for subject in [Subject::Globals, Subject::All, Subject::database("base"), Subject::database("app")] {
            for format in &dumps {
                assert_eq!(Manifest::required_format(&subject, format, None), 1, "{subject} {format}");
            }
            assert_eq!(Manifest::required_format(&subject, &other, None), 2, "{subject}");
            assert_eq!(Manifest::required_format(&subject, &Format::Base, None), 2, "{subject}");
        }
        for format in dumps.iter().chain([&Format::Base, &other]) {
            assert_eq!(Manifest::required_format(&Subject::Base, format, None), 2, "{format}");
        }
    }

    #[test]
    fn format_1_describes_only_backups_of_0_1_0() {
        let base: Manifest = serde_json::from_str(include_str!("../testdata/manifest-2.json")).unwrap();
        let mut foreign = sample();
        foreign.artifact.format = Format::Other(FormatName::new("mysqldump").unwrap());
        for mut manifest in [base, foreign] {
            let key = manifest.name().unwrap().manifest();
            manifest.format = 1;
            let error = Manifest::from_bytes(&key, &manifest.to_bytes().unwrap()).unwrap_err();
            assert_eq!(error.kind(), Kind::Corrupt);
            assert!(error.to_string().contains("format 1 cannot describe"), "{error}");
            manifest.format = 2;
            assert_eq!(Manifest::from_bytes(&key, &manifest.to_bytes().unwrap()).unwrap(), manifest);
        }
    }

    #[test]
    fn refuses_manifests_of_newer_formats() {
        let key = sample().name().unwrap().manifest();
        for (text, word) in [
            (&br#"{"format":3,"new":true}"#[..], "format 3"),
            (&br#"{"format":4294967295}"#[..], "format 4294967295"),
            (&br#"{"format":0}"#[..], "format 0"),
        ] {
            let error = Manifest::from_bytes(&key, text).unwrap_err();
            assert_eq!(error.kind(), Kind::Refused);
            assert!(error.to_string().contains(word), "{error}");
            assert!(error.remedy().is_some_and(|hint| hint.contains("a newer one")), "{error:?}");
        }
    }

    /// Returns the manifest of a database, with the artifact in this folder.
    fn of_database(database: &str, segment: &str) -> Manifest {
        let mut manifest = sample();
        manifest.subject = Subject::database(database);
        let name = BackupName::new("main", segment, manifest.time).unwrap();
        manifest.artifact.key = name.artifact(".dump.zst.age").unwrap();
        manifest.details = None;
        manifest
    }

    #[test]
    fn names_of_0_1_0_are_read_for_ever() {
        for (database, former, current) in [("base", "base", "%62ase"), ("wal", "wal", "%77al")] {
            for segment in [former, current] {
                let manifest = of_database(database, segment);
                let name = BackupName::new("main", segment, manifest.time).unwrap();
                assert_eq!(manifest.name().unwrap(), name);
                assert_eq!(manifest.keys().unwrap(), [name.manifest(), manifest.artifact.key.clone()]);
                let bytes = manifest.to_bytes().unwrap();
                assert_eq!(Manifest::from_bytes(&name.manifest(), &bytes).unwrap(), manifest);
                for stranger in [former, current, "app"].into_iter().filter(|other| *other != segment) {
                    let other = BackupName::new("main", stranger, manifest.time).unwrap();
                    let error = Manifest::from_bytes(&other.manifest(), &bytes).unwrap_err();
                    assert!(error.to_string().contains("which is another backup"), "{segment} {stranger}: {error}");
                }
            }
        }
        // A manifest without an artifact of either name gets the current one.
        let mut stray = of_database("base", "base");
        stray.artifact.key = Key::parse("main/app/app-2026-06-07_091500.dump").unwrap();
        assert_eq!(stray.name().unwrap().folder(), "main/%62ase");
    }

    #[test]
    fn base_backup_and_old_database_of_one_second_conflict() {
        let base: Manifest = serde_json::from_str(include_str!("../testdata/manifest-2.json")).unwrap();
        let mut database = of_database("base", "base");
        database.time = base.time;
        assert_ne!(database.name().unwrap(), base.name().unwrap(), "a new backup of the database has another name");
        database.artifact.key = base.name().unwrap().artifact(".dump.zst.age").unwrap();
        // Stores never overwrite, so only one of the manifests can exist.
        assert_eq!(database.name().unwrap().manifest(), base.name().unwrap().manifest());
        assert_ne!(database.artifact.key, base.artifact.key);
    }

    #[test]
    fn only_dumps_pass_as_dumps() {
        let dump = sample();
        dump.expect_dump(Stage::Restore).unwrap();
        let mut base: Manifest = serde_json::from_str(include_str!("../testdata/manifest-2.json")).unwrap();
        for format in [Format::Base, Format::Plain, Format::Other(FormatName::new("tar").unwrap())] {
            base.artifact.format = format;
            assert_eq!(base.expect_dump(Stage::Restore).unwrap_err().kind(), Kind::Usage);
        }
        let mut foreign = dump;
        foreign.artifact.format = Format::Other(FormatName::new("mysqldump").unwrap());
        let error = foreign.expect_dump(Stage::Restore).unwrap_err();
        assert!(error.to_string().contains("x-mysqldump") && error.remedy().is_some(), "{error:?}");
    }

    #[test]
    fn manifest_under_another_key_is_corrupt() {
        let bytes = sample().to_bytes().unwrap();
        let key = Key::parse("main/other/other-2026-06-07_091500.json").unwrap();
        assert_eq!(Manifest::from_bytes(&key, &bytes).unwrap_err().kind(), Kind::Corrupt);
    }

    #[test]
    fn manifest_of_foreign_files_is_corrupt() {
        let mut manifest = sample();
        let key = manifest.name().unwrap().manifest();
        manifest.artifact.key = Key::parse("main/other/other-2026-06-07_091500.dump").unwrap();
        let error = Manifest::from_bytes(&key, &manifest.to_bytes().unwrap()).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
    }
}
