//! The backup that a file in a destination belongs to, by the file's name.

use crate::format::Format;
use crate::header::HeaderName;
use crate::key::{BackupName, DETAILS, Key, Timestamp};
use crate::mark::MarkName;
use crate::signature::Record;

impl BackupName {
    /// Returns the name of the backup that a file belongs to, if its name is that of an artifact,
    /// details, a mark, or a header or signature of one of these. Returns `None` for other files
    /// with the same prefix.
    pub fn from_file_key(key: &Key) -> Option<Self> {
        if let Some(header) = HeaderName::from_key(key) {
            return Self::from_file_key(&header.sealed);
        }
        match Record::from_signature_key(key) {
            Some(Record::Manifest(name)) => return Some(name),
            Some(Record::Mark(mark)) => return Some(mark.backup),
            Some(Record::Report(_)) | None => {}
        }
        let [_, subject, file] = <[&str; 3]>::try_from(key.as_str().split('/').collect::<Vec<_>>()).ok()?;
        let (timestamp, extension) = file.strip_prefix(subject)?.strip_prefix('-')?.split_once('.')?;
        Timestamp::parse(timestamp)?;
        let suffix = format!(".{extension}");
        let is_details = suffix.strip_prefix(DETAILS).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        let is_valid = is_details
            || Format::from_suffix(&suffix).is_some()
            || MarkName::from_key(key).is_some()
            || MarkName::from_details_key(key).is_some();
        let manifest = Key::parse(&format!("{}/{subject}-{timestamp}.json", key.folder())).ok()?;
        is_valid.then(|| Self::from_manifest_key(&manifest)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "main/app/app-2026-06-07_091500";

    fn owner(suffix: &str) -> Option<String> {
        let key = Key::parse(&format!("{NAME}{suffix}")).unwrap();
        BackupName::from_file_key(&key).map(|name| name.to_string())
    }

    #[test]
    fn files_of_every_format_have_an_owner() {
        for suffix in [
            ".dump.zst.age",
            ".sql",
            ".tar.age",
            ".dir.tar.zst",
            ".base.tar.zst.age",
            ".x-mysqldump",
            ".x-mysqldump.zst.age",
            ".details.json",
            ".details.json.age",
            ".hold.2026-07-01_120000.json",
            ".drilled.2026-07-01_120000.details.json.age",
            ".json.sig",
            ".hold.2026-07-01_120000.json.sig",
        ] {
            assert_eq!(owner(suffix).as_deref(), Some(NAME), "{suffix}");
        }
    }

    #[test]
    fn foreign_files_have_no_owner() {
        for suffix in [".json", ".txt", ".dumpling", ".base", ".base.zst", ".mysqldump", ".x-.age", ".x-Y", "x.dump"] {
            assert_eq!(owner(suffix), None, "{suffix}");
        }
    }

    #[test]
    fn wal_files_belong_to_no_backup() {
        for text in [
            "main/wal/7512345678901234567/000000010000005A/00000001000000005A000001-0f343b0931126a20.zst.age",
            "main/wal/7512345678901234567/00000002.history-0f343b0931126a20.age",
        ] {
            assert_eq!(BackupName::from_file_key(&Key::parse(text).unwrap()), None, "{text}");
        }
    }
}
