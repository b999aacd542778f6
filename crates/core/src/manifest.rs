//! Longshore's record of one backup, format 1. `FORMAT.md` tells it to people, `manifest.schema.json` to programs.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result, Stage};
use crate::key::{BackupName, Key, Stamp};
use crate::meter::Digest;
use crate::subject::Subject;

/// The format that this program writes, and the newest it reads.
pub const FORMAT: u32 = 1;

/// The most bytes a manifest may have.
pub const MAX_MANIFEST_BYTES: usize = 1 << 20;

/// The record of one backup. A backup exists once its manifest does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Manifest {
    /// The manifest's format: 1.
    pub format: u32,
    /// The version of Longshore that wrote it.
    pub longshore: String,
    /// The job that made the backup.
    pub job: String,
    /// The run's id: the same for all that one run made.
    pub run: String,
    /// How many backups the run was to make, this one included: what tells a whole run from one that failed in part.
    pub run_backups: u32,
    /// The run's one time, in UTC, to the second: what retention counts by and what the keys carry.
    pub time: Stamp,
    /// When this artifact's dump began, in UTC.
    pub started: DateTime<Utc>,
    /// When its last byte was sealed, in UTC.
    pub finished: DateTime<Utc>,
    /// The cluster that was read.
    pub cluster: Cluster,
    /// What the backup is a copy of.
    pub subject: Subject,
    /// What a database must be made with to take it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseFacts>,
    /// The program that made the dump.
    pub tool: Tool,
    /// The sealed bytes.
    pub artifact: Artifact,
    /// The sealed details, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<SealedFile>,
    /// Who judged the plaintext while it was dumped. Empty: nobody did.
    pub verified: Vec<Verification>,
    /// What could not be captured, such as role passwords.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_captured: Vec<String>,
    /// Parts of the cluster that no backup of the run contains, such as databases that allow no connections.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub run_not_captured: Vec<String>,
    /// What the program that made the dump warned of. Where the backup is sealed, that travels in the details, since it names tables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The names of the backups without which this one cannot be fully restored, such as the globals of the same run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<BackupName>,
    /// What became of the artifact at each destination of the run, as it was known when this record was written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shipments: Vec<Shipment>,
    /// A fingerprint of each recipient it is sealed to: the first 16 hexadecimal digits of the SHA-256 of the recipient's text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
}

/// The cluster that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Cluster {
    /// Its name in the configuration.
    pub name: String,
    /// Its server.
    #[serde(flatten)]
    pub server: Server,
}

/// A server, as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Server {
    /// Its version, such as `17.4`.
    pub server_version: String,
    /// PostgreSQL's system identifier of the cluster, in decimal, where the role may read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_identifier: Option<String>,
}

/// What a database must be made with to take a backup back.
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
    /// The provider's own locale, where the provider is not `libc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// `LC_MONETARY` of the dump's session, where the database has values of type `money`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monetary: Option<String>,
}

/// A program and its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Tool {
    /// Its name, such as `pg_dump`.
    pub name: String,
    /// Its version, such as `17.4`.
    pub version: String,
}

/// The form of the plaintext.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Format {
    /// PostgreSQL's custom format: `pg_restore` reads it.
    Custom,
    /// A script: `psql` reads it.
    Plain,
    /// PostgreSQL's tar format: `pg_restore` reads it.
    Tar,
    /// PostgreSQL's directory format as one tar stream: `tar` unpacks it and `pg_restore` reads the folder.
    Directory,
}

impl Format {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Custom, Self::Plain, Self::Tar, Self::Directory];

    /// The form of a dump that begins with `head`, of which 512 bytes suffice; what is no archive is taken for a script.
    pub fn of(head: &[u8]) -> Self {
        if head.starts_with(b"PGDMP") {
            Self::Custom
        } else if !is_tar(head) {
            Self::Plain
        } else if (head.get(108..115), head.get(116..123)) == (Some(b"0004000"), Some(b"0002000")) {
            // Whoever runs pg_dump, these are the user and the group that its tar says.
            Self::Tar
        } else {
            Self::Directory
        }
    }

    /// What the plaintext's file name ends with.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Custom => ".dump",
            Self::Plain => ".sql",
            Self::Tar => ".tar",
            Self::Directory => ".dir.tar",
        }
    }
}

/// The sealed bytes of one subject, and how to undo them: sealing first, then compression, then by its format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Artifact {
    /// Its key in the destination.
    pub key: Key,
    /// The plaintext's form.
    pub format: Format,
    /// What compressed it after the dump: `zstd`, or nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<String>,
    /// What sealed it: `age`, or nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<String>,
    /// What the dump program wrote.
    pub plaintext: Digest,
    /// What lies in the destination.
    pub sealed: Digest,
}

/// A sealed file: the artifact, or a smaller one beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SealedFile {
    /// Its key in the destination.
    pub key: Key,
    /// What lies in the destination.
    pub sealed: Digest,
}

/// What became of an artifact at one destination.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Shipment {
    /// The destination's name in the configuration.
    pub destination: String,
    /// Whether the destination took it whole. One that did not may have got a copy since.
    pub arrived: bool,
    /// How many bytes of it the destination took.
    pub bytes: u64,
    /// How long that took, in seconds, from the beginning of the dump.
    pub seconds: f64,
}

/// A judgement of the plaintext as it passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Verification {
    /// Who judged, such as `pg_restore 17.4`.
    pub by: String,
    /// What was done, such as `decoded`.
    pub method: String,
    /// Totals that tell nothing of the content, such as the number of tables.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub totals: std::collections::BTreeMap<String, u64>,
}

impl Verification {
    /// Returns true if the judge was Longshore's own reader, which always writes what it found into the
    /// details.
    pub fn writes_details(&self) -> bool {
        self.by.split(' ').next() == Some("longshore")
    }
}

/// Whether a tar begins like this: with a header whose checksum, of eight octal digits and spaces, fits.
fn is_tar(head: &[u8]) -> bool {
    let (Some(header), Some(checksum)) = (head.get(..512), head.get(148..156)) else { return false };
    let digits = std::str::from_utf8(checksum).unwrap_or_default().trim_matches(['\0', ' ']);
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    // The checksum itself counts as spaces.
    let of_itself: u64 = checksum.iter().map(|byte| u64::from(*byte)).sum();
    u64::from_str_radix(digits, 8) == Ok(sum - of_itself + 8 * u64::from(b' '))
}

impl Manifest {
    /// The backup's name.
    pub fn name(&self) -> Result<BackupName> {
        BackupName::new(&self.cluster.name, &self.subject.segment(), self.time)
    }

    /// Every key that belongs to the backup, in the order in which to remove them: the manifest
    /// first, and the details last. As long as the details are there, an artifact without a manifest
    /// is known as Longshore's.
    pub fn keys(&self) -> Result<Vec<Key>> {
        let details = self.details.iter().map(|details| details.key.clone());
        Ok([self.name()?.manifest(), self.artifact.key.clone()].into_iter().chain(details).collect())
    }

    /// The files that it speaks of, each with its digest, in the order in which they are shipped.
    pub fn files(&self) -> impl Iterator<Item = SealedFile> {
        let Artifact { key, sealed, .. } = self.artifact.clone();
        std::iter::once(SealedFile { key, sealed }).chain(self.details.clone())
    }

    /// As it lies in a destination: JSON that people can read, too.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(|error| {
            Error::new(Stage::Catalog, Kind::Failed, &self.job, "cannot write the manifest").because(error)
        })?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Gives back the room that its lists have for more: a catalog keeps thousands of manifests.
    fn shrink(&mut self) {
        let Self { verified, not_captured, run_not_captured, warnings, needs, shipments, recipients, .. } = self;
        verified.shrink_to_fit();
        needs.shrink_to_fit();
        shipments.shrink_to_fit();
        [not_captured, run_not_captured, warnings, recipients].into_iter().for_each(Vec::shrink_to_fit);
    }

    /// Reads the manifest that lies under `key`. It must be of a format this program knows, and be the one that belongs there.
    pub fn from_bytes(key: &Key, bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let bad = |message: String| Error::new(Stage::Catalog, Kind::Corrupt, key.as_str(), message);
        let read: Result<Self, _> = serde_json::from_slice(bytes);
        // Read as a whole first, since most are: what another format looks like is looked for only in what cannot be.
        let format = match &read {
            Ok(manifest) => manifest.format,
            Err(_) => {
                let head: Result<Head, _> = serde_json::from_slice(bytes);
                head.map_err(|error| bad("not a manifest".into()).because(error))?.format
            }
        };
        if format != FORMAT {
            let message = format!("a manifest of format {format}, but this program reads format {FORMAT}");
            let error = Error::new(Stage::Catalog, Kind::Refused, key.as_str(), message);
            return Err(error.hint("use the Longshore version that wrote it, or a newer one"));
        }
        let mut manifest = read.map_err(|error| bad("not a whole manifest".into()).because(error))?;
        manifest.shrink();
        let name = manifest.name()?;
        if name.manifest() != *key {
            return Err(bad(format!("describes \"{name}\", which is another backup")));
        }
        let details = manifest.details.iter().map(|details| &details.key);
        for beside in details.chain([&manifest.artifact.key]) {
            // Whatever is removed with the backup must be the backup's own.
            if !beside.as_str().starts_with(&format!("{name}.")) {
                return Err(bad(format!("names \"{beside}\", which is not part of \"{name}\"")));
            }
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_known_by_its_first_bytes() {
        let tar = |uid, gid, magic: &[u8]| {
            let mut header = tar::Header::new_old();
            header.set_path("toc.dat").unwrap();
            header.set_uid(uid);
            header.set_gid(gid);
            header.as_mut_bytes()[257..257 + magic.len()].copy_from_slice(magic);
            header.set_cksum();
            header.as_bytes().to_vec()
        };
        assert_eq!(Format::of(b"PGDMP\x01"), Format::Custom);
        assert_eq!(Format::of(b"--\n-- PostgreSQL database dump"), Format::Plain);
        assert_eq!(Format::of(&tar(0o4000, 0o2000, b"ustar")), Format::Tar);
        assert_eq!(Format::of(&tar(0, 0, b"ustar")), Format::Directory);
        assert_eq!(Format::of(&tar(1000, 1000, b"")), Format::Directory);
        assert_eq!(Format::of(&[0; 512]), Format::Plain);
        assert_eq!(Format::of(b""), Format::Plain);
    }

    fn sample() -> Manifest {
        serde_json::from_str(include_str!("../testdata/manifest-1.json")).unwrap()
    }

    #[test]
    fn a_manifest_of_format_1_reads_and_writes_back_the_same() {
        let text = include_str!("../testdata/manifest-1.json");
        let key = sample().name().unwrap().manifest();
        let manifest = Manifest::from_bytes(&key, text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(manifest.to_bytes().unwrap()).unwrap(), text);
    }

    #[test]
    fn the_schema_is_that_of_the_types() {
        let schema = serde_json::to_string_pretty(&schemars::schema_for!(Manifest)).unwrap() + "\n";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/manifest.schema.json");
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(path, &schema).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap();
        assert_eq!(written, schema, "run the test again with UPDATE_SCHEMA=1 and look at the difference");
    }

    #[test]
    fn a_manifest_from_the_future_is_refused_by_its_number() {
        let key = sample().name().unwrap().manifest();
        let error = Manifest::from_bytes(&key, br#"{"format":2,"new":true}"#).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.to_string().contains("format 2"), "{error}");
    }

    #[test]
    fn a_manifest_in_anothers_place_is_damage() {
        let bytes = sample().to_bytes().unwrap();
        let key = Key::parse("main/other/other-2026-06-07_091500.json").unwrap();
        assert_eq!(Manifest::from_bytes(&key, &bytes).unwrap_err().kind(), Kind::Corrupt);
    }

    #[test]
    fn a_manifest_that_names_anothers_file_is_damage() {
        let mut manifest = sample();
        let key = manifest.name().unwrap().manifest();
        manifest.artifact.key = Key::parse("main/other/other-2026-06-07_091500.dump").unwrap();
        let error = Manifest::from_bytes(&key, &manifest.to_bytes().unwrap()).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
    }
}
