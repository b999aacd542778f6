//! The backup that a file in a destination belongs to, by the file's name.

use crate::format::Format;
use crate::key::{BackupName, DETAILS, Key, Stamp};
use crate::mark::MarkName;

impl BackupName {
    /// Returns the name of the backup that a file belongs to, if its name is that of an artifact,
    /// details or a mark. Returns `None` for other files with the same prefix.
    pub fn of_file(key: &Key) -> Option<Self> {
        let [_, subject, file] = <[&str; 3]>::try_from(key.as_str().split('/').collect::<Vec<_>>()).ok()?;
        let (stamp, extension) = file.strip_prefix(subject)?.strip_prefix('-')?.split_once('.')?;
        Stamp::parse(stamp)?;
        let ours = |form: &str| {
            let rest = form.strip_prefix('.').and_then(|form| extension.strip_prefix(form));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let sound = Format::ALL.iter().any(|form| ours(form.extension()))
            || ours(DETAILS)
            || MarkName::of(key).is_some()
            || MarkName::of_details(key).is_some();
        let manifest = Key::parse(&format!("{}/{subject}-{stamp}.json", key.folder())).ok()?;
        sound.then(|| Self::of_manifest(&manifest)).flatten()
    }
}
