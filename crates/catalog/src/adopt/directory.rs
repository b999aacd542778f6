//! Dumps in directory format: a folder with a table of contents and a file for each table.

use std::collections::{BTreeMap, BTreeSet};

use longshore_core::stage::Entry;
use longshore_model::key::Key;

use super::Adopted;

/// The name of the table of contents, by which a folder is adopted.
pub const TABLE_OF_CONTENTS: &str = "toc.dat";

/// The extensions of compressed files that pg_dump writes.
const COMPRESSED: [&str; 3] = [".gz", ".lz4", ".zst"];

/// Returns true if pg_dump names a file of a directory dump like this: `3301.dat.gz`,
/// `blob_16400.dat`, `blobs.toc`, `blobs_3402.toc`.
fn is_part(name: &str) -> bool {
    let name = COMPRESSED.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let data = name.strip_suffix(".dat").map(|stem| stem.strip_prefix("blob_").unwrap_or(stem));
    let list = name.strip_suffix(".toc").and_then(|stem| stem.strip_prefix("blobs"));
    data.is_some_and(is_number)
        || list.is_some_and(|rest| rest.is_empty() || rest.strip_prefix('_').is_some_and(is_number))
}

/// Returns the folder of a dump in directory format, which its table of contents represents.
fn folder(file: &Adopted) -> Option<&str> {
    (file.key.file_name() == TABLE_OF_CONTENTS).then(|| file.key.folder()).filter(|folder| !folder.is_empty())
}

/// Returns the name of the whole file, or of the folder of a dump in directory format.
pub(super) fn whole(file: &Adopted) -> &str {
    folder(file).unwrap_or(file.key.as_str())
}

/// Adds the files beside each adopted table of contents to its dump, and removes them from the
/// orphans. Returns their keys.
pub(super) fn claim<'a>(adopted: impl Iterator<Item = &'a mut Adopted>, orphans: &mut Vec<Entry>) -> BTreeSet<Key> {
    let dumps: BTreeMap<String, &mut Adopted> =
        adopted.filter_map(|file| Some((folder(file)?.to_owned(), file))).collect();
    if dumps.is_empty() {
        return BTreeSet::new();
    }
    let (parts, others): (Vec<Entry>, Vec<Entry>) = std::mem::take(orphans)
        .into_iter()
        .partition(|entry| is_part(entry.key.file_name()) && dumps.contains_key(entry.key.folder()));
    *orphans = others;
    let keys = parts.iter().map(|part| part.key.clone()).collect();
    let mut by_folder: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for part in parts {
        by_folder.entry(part.key.folder().to_owned()).or_default().push(part);
    }
    for (folder, dump) in dumps {
        dump.parts = by_folder.remove(&folder).unwrap_or_default();
        dump.bytes += dump.parts.iter().map(|part| part.bytes).sum::<u64>();
    }
    keys
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;
    use crate::adopt::{AdoptRule, Pattern};
    use crate::catalog::Catalog;

    #[test]
    fn files_of_pg_dump_are_parts() {
        for name in ["3301.dat", "3301.dat.gz", "3301.dat.lz4", "blob_16400.dat.zst", "blobs.toc", "blobs_3402.toc"] {
            assert!(is_part(name), "{name}");
        }
        for name in ["toc.dat", "README", "3301.dat.gz.age", "a3301.dat", ".dat", "blobs", "blobs_.toc", "3301.toc"] {
            assert!(!is_part(name), "{name}");
        }
    }

    #[test]
    fn folder_is_one_dump() {
        let keys = [
            "app_2026-06-07T03:00:01Z.d/toc.dat",
            "app_2026-06-07T03:00:01Z.d/3301.dat.gz",
            "app_2026-06-07T03:00:01Z.d/blobs.toc",
            "app_2026-06-07T03:00:01Z.d/README",
            "app_2026-06-07T03:00:01Z.d.sha256",
            "app_2026-06-08T03:00:01Z.d/3301.dat.gz",
            "toc.dat",
        ];
        let orphans = keys.iter().map(|text| Entry::new(Key::parse(text).unwrap(), 10)).collect();
        let mut catalog = Catalog { orphans, ..Catalog::default() };
        let rule = AdoptRule {
            name: "old".to_owned(),
            cluster: "main".to_owned(),
            pattern: Pattern::parse("{database}_%FT%T%:z.d/toc.dat").unwrap(),
            timezone: Tz::UTC,
            database: None,
        };
        catalog.adopt([rule].iter());
        let dump = &catalog.adopted.values().next().unwrap()[0];
        assert_eq!((dump.bytes, dump.parts.len()), (30, 2));
        let removed: Vec<String> = dump.keys().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(removed, [keys[0], keys[1], keys[2], keys[4]], "the table of contents first");
        let left: Vec<&str> = catalog.not_adopted.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(left, [keys[3], keys[5], keys[6]]);
        assert_eq!(catalog.orphans.len(), 3);
    }
}
