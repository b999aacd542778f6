//! The backup that a file in a destination belongs to, by the file's name.

use crate::format::Format;
use crate::key::{BackupName, DETAILS, Key, Timestamp};
use crate::mark::MarkName;

impl BackupName {
    /// Returns the name of the backup that a file belongs to, if its name is that of an artifact,
    /// details or a mark. Returns `None` for other files with the same prefix.
    pub fn from_file_key(key: &Key) -> Option<Self> {
        let [_, subject, file] = <[&str; 3]>::try_from(key.as_str().split('/').collect::<Vec<_>>()).ok()?;
        let (timestamp, extension) = file.strip_prefix(subject)?.strip_prefix('-')?.split_once('.')?;
        Timestamp::parse(timestamp)?;
        let has_extension = |form: &str| {
            let rest = form.strip_prefix('.').and_then(|form| extension.strip_prefix(form));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let is_valid = Format::ALL.iter().any(|form| has_extension(form.extension()))
            || has_extension(DETAILS)
            || MarkName::from_key(key).is_some()
            || MarkName::from_details_key(key).is_some();
        let manifest = Key::parse(&format!("{}/{subject}-{timestamp}.json", key.folder())).ok()?;
        is_valid.then(|| Self::from_manifest_key(&manifest)).flatten()
    }
}
