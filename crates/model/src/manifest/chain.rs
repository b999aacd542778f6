//! Backups that are of use only together with earlier ones.

use super::{Artifact, Manifest};
use crate::key::BackupName;

impl Manifest {
    /// Returns true for an incremental base backup, which cannot be restored without earlier ones.
    pub fn is_incremental(&self) -> bool {
        self.base.as_ref().is_some_and(|base| base.incremental_from.is_some())
    }

    /// Returns true for a backup stored as its difference from a full one.
    pub fn is_difference(&self) -> bool {
        self.artifact.difference.is_some()
    }

    /// Returns true for a backup that cannot be restored without earlier ones of its series.
    pub fn continues_others(&self) -> bool {
        self.is_incremental() || self.is_difference()
    }

    /// Returns the backup that this one continues, if its manifest names one: the previous base
    /// backup of an incremental one, or the full backup of a difference.
    pub fn parent(&self) -> Option<&BackupName> {
        if let Some(difference) = &self.artifact.difference {
            return Some(&difference.full);
        }
        let own = self.name().ok()?;
        self.needs.iter().find(|need| self.is_incremental() && need.folder() == own.folder())
    }

    /// Returns the backups to restore before this one, such as globals: those that it needs, but
    /// not the one that it continues.
    pub fn prerequisites(&self) -> impl Iterator<Item = &BackupName> {
        let parent = self.parent();
        self.needs.iter().filter(move |need| Some(*need) != parent)
    }

    /// Returns true if the backup continues `parent`.
    pub fn continues(&self, parent: &Self) -> bool {
        if parent.time >= self.time {
            return false;
        }
        match &self.artifact.difference {
            Some(difference) => {
                parent.subject == self.subject
                    && !parent.is_difference()
                    && parent.artifact.plaintext == difference.full_plaintext
            }
            None => self.continues_base(parent),
        }
    }

    /// Returns true if the incremental base backup continues the state of `parent`.
    fn continues_base(&self, parent: &Self) -> bool {
        let start = parent.base.as_ref().map(|base| (base.start_lsn, base.page_checksums));
        let from = self.base.as_ref().and_then(|base| Some((base.incremental_from?, base.page_checksums)));
        let identifier = |manifest: &Self| manifest.cluster.server.system_identifier.clone();
        start.is_some() && start == from && identifier(self) == identifier(parent)
    }
}

impl Artifact {
    /// Returns what is to be undone to read the plaintext, the outermost first, such as `age`,
    /// `zstd` and `rdiff`.
    pub fn wrappings(&self) -> impl Iterator<Item = &str> {
        let form = self.difference.iter().map(|difference| &difference.form);
        self.encryption.iter().chain(&self.compression).chain(form).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::difference::Difference;
    use crate::digest::Digest;
    use crate::error::Kind;
    use crate::key::Timestamp;

    fn full() -> Manifest {
        serde_json::from_str(include_str!("../../testdata/manifest-1.json")).unwrap()
    }

    fn difference() -> Manifest {
        let full = full();
        let mut manifest = full.clone();
        manifest.format = 2;
        manifest.time = Timestamp::parse("2026-06-08_091500").unwrap();
        let name = manifest.name().unwrap();
        manifest.artifact.key = name.artifact(".dump.rdiff.zst.age").unwrap();
        manifest.details = None;
        manifest.artifact.difference = Some(Box::new(Difference {
            form: Difference::RDIFF.to_owned(),
            full: full.name().unwrap(),
            full_plaintext: full.artifact.plaintext.clone(),
            encoded: Digest::of(b"abc"),
            block_bytes: 512,
        }));
        manifest.needs.push(full.name().unwrap());
        manifest
    }

    #[test]
    fn difference_continues_its_full_backup_only() {
        let (full, difference) = (full(), difference());
        assert!(difference.continues(&full) && difference.continues_others() && !difference.is_incremental());
        assert_eq!(difference.parent(), Some(&full.name().unwrap()));
        assert!(!difference.prerequisites().any(|need| *need == full.name().unwrap()));
        assert_eq!(difference.prerequisites().count(), full.needs.len());
        assert!(!difference.continues(&difference) && !full.continues(&full) && full.parent().is_none());
        let mut other = full.clone();
        other.artifact.plaintext = Digest::of(b"other");
        assert!(!difference.continues(&other));
        other = full.clone();
        other.time = difference.time;
        assert!(!difference.continues(&other));
    }

    #[test]
    fn difference_needs_format_2_and_its_full_backup() {
        let manifest = difference();
        let key = manifest.name().unwrap().manifest();
        assert_eq!(Manifest::from_bytes(&key, &manifest.to_bytes().unwrap()).unwrap(), manifest);
        let mut first = manifest.clone();
        first.format = 1;
        let mut unprotected = manifest.clone();
        unprotected.needs.pop();
        for (manifest, word) in [(first, "format 1 cannot describe"), (unprotected, "does not need")] {
            let error = Manifest::from_bytes(&key, &manifest.to_bytes().unwrap()).unwrap_err();
            assert_eq!(error.kind(), Kind::Corrupt);
            assert!(error.to_string().contains(word), "{error}");
        }
        let mut unknown = manifest.artifact.difference.unwrap();
        unknown.form = "bsdiff".to_owned();
        assert_eq!(unknown.expect_known_form("x").unwrap_err().kind(), Kind::Refused);
    }
}
