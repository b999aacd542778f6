//! Longshore's record of one backup, format 1, documented in `FORMAT.md` and
//! `manifest.schema.json`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Error, Kind, Result, Stage};
use crate::key::{BackupName, Key, Timestamp};
use crate::subject::Subject;

pub use crate::format::Format;

/// The format that this program writes and reads.
pub const FORMAT: u32 = 1;

/// The maximum size of a manifest in bytes.
pub const MAX_MANIFEST_BYTES: usize = 1 << 20;

/// The record of one backup. The backup exists if its manifest exists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Manifest {
    /// The manifest's format: 1.
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
    /// The program that made the dump.
    pub tool: Tool,
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
    /// The encryption: `age`, or absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<String>,
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

/// A verification of the plaintext during the dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Verification {
    /// The verifier, such as `pg_restore 17.4`.
    pub by: String,
    /// The method, such as `decoded`.
    pub method: String,
    /// Totals that reveal no content, such as the number of tables.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub totals: std::collections::BTreeMap<String, u64>,
}

impl Verification {
    /// Returns true for Longshore's own verifier, which always writes its findings into the
    /// details.
    pub fn writes_details(&self) -> bool {
        self.by.split(' ').next() == Some("longshore")
    }
}

impl Manifest {
    /// Returns the backup's name.
    pub fn name(&self) -> Result<BackupName> {
        BackupName::new(&self.cluster.name, &self.subject.segment(), self.time)
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
        if format != FORMAT {
            let message = format!("manifest format {format} is not supported, only format {FORMAT}");
            let error = Error::new(Stage::Catalog, Kind::Refused, key.as_str(), message);
            return Err(error.hint("use the version of Longshore that wrote the manifest, or a newer one"));
        }
        let mut manifest = read.map_err(|error| bad("incomplete or invalid manifest".into()).because(error))?;
        manifest.shrink();
        let name = manifest.name()?;
        if name.manifest() != *key {
            return Err(bad(format!("describes \"{name}\", which is another backup")));
        }
        let details = manifest.details.iter().map(|details| &details.key);
        for file_key in details.chain([&manifest.artifact.key]) {
            // Pruning deletes these files, so they must belong to this backup.
            if !file_key.as_str().starts_with(&format!("{name}.")) {
                return Err(bad(format!("names \"{file_key}\", which is not part of \"{name}\"")));
            }
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detects_formats_by_their_first_bytes() {
        let tar = |uid, gid, magic: &[u8]| {
            let mut header = tar::Header::new_old();
            header.set_path("toc.dat").unwrap();
            header.set_uid(uid);
            header.set_gid(gid);
            header.as_mut_bytes()[257..257 + magic.len()].copy_from_slice(magic);
            header.set_cksum();
            header.as_bytes().to_vec()
        };
        assert_eq!(Format::detect(b"PGDMP\x01"), Format::Custom);
        assert_eq!(Format::detect(b"--\n-- PostgreSQL database dump"), Format::Plain);
        assert_eq!(Format::detect(&tar(0o4000, 0o2000, b"ustar")), Format::Tar);
        assert_eq!(Format::detect(&tar(0, 0, b"ustar")), Format::Directory);
        assert_eq!(Format::detect(&tar(1000, 1000, b"")), Format::Directory);
        assert_eq!(Format::detect(&[0; 512]), Format::Plain);
        assert_eq!(Format::detect(b""), Format::Plain);
    }

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
    fn refuses_manifests_of_newer_formats() {
        let key = sample().name().unwrap().manifest();
        let error = Manifest::from_bytes(&key, br#"{"format":2,"new":true}"#).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.to_string().contains("format 2"), "{error}");
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
