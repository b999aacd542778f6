//! Signatures of records: each is a file beside its record, in the format of `ssh-keygen -Y sign`.
//!
//! | of | key |
//! | --- | --- |
//! | a manifest | `CLUSTER/SUBJECT/SUBJECT-2026-06-07_091500.json.sig` |
//! | a mark | `CLUSTER/SUBJECT/SUBJECT-2026-06-07_091500.hold.2026-07-01_120000.json.sig` |
//! | a run report | `CLUSTER/runs/JOB/2026-06-07_091500-run-1f0c9a7e.json.sig` |

use std::fmt;

use crate::digest::Digest;
use crate::error::{Error, Kind, Result, Stage};
use crate::key::{BackupName, Key, Timestamp};
use crate::mark::MarkName;
use crate::run_report::ReportName;

/// The suffix of the key of a signature, after the key of its record.
pub(crate) const SIGNATURE: &str = ".sig";

/// The maximum size of a signature in bytes.
pub const MAX_SIGNATURE_BYTES: usize = 16 << 10;

/// A record that can be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The manifest of a backup.
    Manifest(BackupName),
    /// A mark, or the record of a drill.
    Mark(MarkName),
    /// A run report.
    Report(ReportName),
}

impl Record {
    /// Returns the record with this key. Returns `None` for other keys, such as those of details.
    pub fn from_key(key: &Key) -> Option<Self> {
        let manifest = || BackupName::from_manifest_key(key).map(Self::Manifest);
        let mark = || MarkName::from_key(key).map(Self::Mark);
        let report = || ReportName::from_key(key).filter(|_| !ReportName::is_details(key)).map(Self::Report);
        manifest().or_else(mark).or_else(report)
    }

    /// Returns the record whose signature has this key.
    pub fn from_signature_key(key: &Key) -> Option<Self> {
        Self::from_key(&Key::parse(key.as_str().strip_suffix(SIGNATURE)?).ok()?)
    }

    /// Returns the namespace of signatures of such records.
    pub fn namespace(&self) -> &'static str {
        match self {
            Self::Manifest(_) => "longshore-manifest",
            Self::Mark(_) => "longshore-mark",
            Self::Report(_) => "longshore-report",
        }
    }

    /// Returns the time of the record, a part of its name.
    pub fn time(&self) -> Option<Timestamp> {
        match self {
            Self::Manifest(name) => name.time(),
            Self::Mark(name) => Some(name.time),
            Self::Report(name) => Some(name.id.time),
        }
    }
}

impl ReportName {
    /// Returns the name of the report that a file belongs to: the report, its details or its
    /// signature.
    pub fn of_file(key: &Key) -> Option<Self> {
        match Record::from_signature_key(key) {
            Some(Record::Report(name)) => Some(name),
            _ => Self::from_key(key),
        }
    }
}

/// Returns the key of the signature of a record.
pub fn signature_key(record: &Key) -> Result<Key> {
    Key::parse(&format!("{record}{SIGNATURE}"))
}

/// The result of the verification of a record's signature.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Verdict {
    /// This host verifies no signatures.
    #[default]
    Unverified,
    /// A trusted signer signed the record.
    Signed {
        /// The signer's principal, such as `backup@db1`.
        by: String,
        /// The digest of the record.
        digest: Digest,
    },
    /// There is no signature.
    Unsigned,
    /// The signature is by a key that may not sign the record; the reason.
    NotPermitted(String),
    /// The signature is not one of this record; the reason.
    Bad(String),
}

impl Verdict {
    /// Returns true if the record counts: always if this host verifies no signatures or requires
    /// none, except with a bad signature.
    pub fn is_accepted(&self, is_required: bool) -> bool {
        match self {
            Self::Unverified | Self::Signed { .. } => true,
            Self::Unsigned | Self::NotPermitted(_) => !is_required,
            Self::Bad(_) => false,
        }
    }

    /// Fails if the record does not count: with [`Kind::Corrupt`] for a bad signature, else with
    /// [`Kind::Refused`].
    pub fn expect_accepted(&self, record: &Key, is_required: bool) -> Result<()> {
        if self.is_accepted(is_required) {
            return Ok(());
        }
        let (kind, hint) = match self {
            Self::Bad(_) => (
                Kind::Corrupt,
                "the record or its signature was changed: `longshore sync JOB --repair`, on a host with that job, replaces it",
            ),
            Self::NotPermitted(_) => (
                Kind::Refused,
                "if the key is one of yours, add its line to the file of [trust] allowed_signers; longshore-trust(7)",
            ),
            _ => (
                Kind::Refused,
                "if the record is from before your first signature, `longshore trust adopt` signs it; longshore-trust(7)",
            ),
        };
        Err(Error::new(Stage::Trust, kind, record.as_str(), self.to_string()).hint(hint))
    }

    /// Returns the signer, if a trusted one signed the record.
    pub fn signer(&self) -> Option<&str> {
        match self {
            Self::Signed { by, .. } => Some(by),
            _ => None,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unverified => f.write_str("not verified"),
            Self::Signed { by, .. } => write!(f, "signed by {by}"),
            Self::Unsigned => f.write_str("not signed"),
            Self::NotPermitted(why) => f.write_str(why),
            Self::Bad(why) => write!(f, "bad signature: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "main/app/app-2026-06-07_091500";

    #[test]
    fn signature_names_its_record() {
        for (key, namespace) in [
            (format!("{NAME}.json"), "longshore-manifest"),
            (format!("{NAME}.hold.2026-07-01_120000.json"), "longshore-mark"),
            ("main/runs/nightly/2026-06-07_091500-run-1f0c9a7e.json".to_owned(), "longshore-report"),
        ] {
            let key = Key::parse(&key).unwrap();
            let record = Record::from_key(&key).unwrap();
            assert_eq!((record.namespace(), record.time().is_some()), (namespace, true), "{key}");
            let signature = signature_key(&key).unwrap();
            assert_eq!(Record::from_signature_key(&signature), Some(record), "{key}");
            // Every release parses the names of records like this.
            let parsed = (BackupName::from_manifest_key(&signature), MarkName::from_key(&signature));
            assert_eq!((parsed, ReportName::from_key(&signature)), ((None, None), None), "{key}");
            assert_eq!(Record::from_key(&signature), None, "{key}");
        }
        for stranger in
            [format!("{NAME}.dump.zst.age.sig"), format!("{NAME}.details.json.sig"), "RESTORE.md.sig".into()]
        {
            assert_eq!(Record::from_signature_key(&Key::parse(&stranger).unwrap()), None, "{stranger}");
        }
    }

    #[test]
    fn verdict_decides_the_kind_of_the_error() {
        let key = Key::parse(&format!("{NAME}.json")).unwrap();
        let kind =
            |verdict: Verdict, is_required| verdict.expect_accepted(&key, is_required).err().map(|error| error.kind());
        for (verdict, optional, required) in [
            (Verdict::Unverified, None, None),
            (Verdict::Signed { by: "backup".to_owned(), digest: Digest::of(b"") }, None, None),
            (Verdict::Unsigned, None, Some(Kind::Refused)),
            (Verdict::NotPermitted(String::new()), None, Some(Kind::Refused)),
            (Verdict::Bad(String::new()), Some(Kind::Corrupt), Some(Kind::Corrupt)),
        ] {
            assert_eq!((kind(verdict.clone(), false), kind(verdict.clone(), true)), (optional, required), "{verdict}");
        }
    }
}
