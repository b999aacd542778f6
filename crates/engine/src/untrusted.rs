//! Records that a destination has but this host does not trust, by their signatures.

use longshore_catalog::catalog::{Backup, Catalog};
use longshore_core::key::{BackupName, Key};
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Stage};

/// Returns true for the error of a record without a permitted signature, where signatures are
/// required.
pub fn is_untrusted(error: &Error) -> bool {
    error.stage() == Stage::Trust && error.kind() == Kind::Refused
}

/// Returns the refused manifests of a catalog, each with the error.
pub(crate) fn untrusted(catalog: &Catalog) -> impl Iterator<Item = &(Key, Error)> {
    catalog.unreadable.iter().filter(|(_, error)| is_untrusted(error))
}

/// Returns the error about the signature of the newest manifest that the words name.
pub(crate) fn untrusted_error<'a>(catalogs: impl IntoIterator<Item = &'a Catalog>, words: &str) -> Option<Error> {
    let all = catalogs.into_iter().flat_map(|catalog| &catalog.unreadable);
    let of_signature = all.filter(|(_, error)| error.stage() == Stage::Trust);
    let named = of_signature.filter_map(|(key, error)| Some((BackupName::from_manifest_key(key)?, error)));
    let newest = named.filter(|(name, _)| is_named(words, name)).max_by_key(|(name, _)| name.time());
    newest.map(|(_, error)| error.clone())
}

/// Returns true if the words are the backup's name, or its subject as far as the name shows that.
fn is_named(words: &str, name: &BackupName) -> bool {
    let folder = name.folder();
    let subject = folder.rsplit('/').next().unwrap_or_default();
    [name.as_str(), name.file_name(), folder, subject].contains(&words) || Subject::database(words).segment() == subject
}

/// Returns the summary of marks that do not count by their signatures, if the backups have any.
pub(crate) fn ignored_marks<'a>(backups: impl Iterator<Item = &'a Backup>) -> Option<String> {
    let mut all = backups.flat_map(|backup| backup.marks.untrusted());
    let (first, why) = all.next()?;
    let count = 1 + all.count();
    let marks = if count == 1 { "1 mark does" } else { &format!("{count} marks do") };
    Some(format!("{marks} not count, such as {} of {}: {why}", first.label(), first.backup))
}
