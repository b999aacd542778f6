//! Names of one file in a folder of this host.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use longshore_core::key::Key;

/// The files of a folder that were seen, each with its first name.
pub(super) struct HardLinks<'a> {
    folder: Option<&'a Path>,
    seen: BTreeMap<(u64, u64), Key>,
}

impl<'a> HardLinks<'a> {
    /// Creates an empty set. Without a folder, no file has two names.
    pub(super) fn in_folder(folder: Option<&'a Path>) -> Self {
        Self { folder, seen: BTreeMap::new() }
    }

    /// Returns the name under which the file was seen before, if it has several names. Files that
    /// do not exist have none.
    pub(super) fn first_name(&mut self, key: &Key) -> Option<Key> {
        let file = self.folder?.join(key.as_str()).symlink_metadata().ok().filter(|file| file.nlink() > 1)?;
        let first = self.seen.entry((file.dev(), file.ino())).or_insert_with(|| key.clone());
        (first != key).then(|| first.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn links_have_the_first_name_seen() {
        let folder = tempfile::tempdir().unwrap();
        let key = |name: &str| Key::parse(name).unwrap();
        fs::write(folder.path().join("last"), "a dump").unwrap();
        fs::write(folder.path().join("alone"), "a dump").unwrap();
        fs::hard_link(folder.path().join("last"), folder.path().join("daily")).unwrap();
        let mut links = HardLinks::in_folder(Some(folder.path()));
        for (name, first) in
            [("last", None), ("alone", None), ("daily", Some("last")), ("last", None), ("alone", None), ("gone", None)]
        {
            assert_eq!(links.first_name(&key(name)), first.map(key), "{name}");
        }
        assert_eq!(HardLinks::in_folder(None).first_name(&key("daily")), None);
    }
}
