//! The page in every destination about restoring without Longshore.

use longshore_core::key::{HEADERS_PAGE, Key, RESTORE_PAGE};
use longshore_core::stage::Ship;
use longshore_core::stream::from_bytes;
use longshore_core::{Kind, Result};

/// The text of the page: the same at every destination. An existing page is never overwritten.
const TEXT: &str = include_str!("restore_page/RESTORE.md");

/// The text of the page about headers beside files.
const HEADERS_TEXT: &str = include_str!("restore_page/RESTORE-HEADERS.md");

/// Writes the page, unless the destination has one.
pub(crate) async fn upload(store: &(impl Ship + ?Sized)) -> Result<()> {
    upload_page(store, RESTORE_PAGE, TEXT).await
}

/// Writes the page about headers beside files, unless the destination has one. The other page may
/// be older than such headers.
pub(crate) async fn upload_headers_page(store: &(impl Ship + ?Sized)) -> Result<()> {
    upload_page(store, HEADERS_PAGE, HEADERS_TEXT).await
}

async fn upload_page(store: &(impl Ship + ?Sized), key: &str, text: &'static str) -> Result<()> {
    match store.ship(&Key::parse(key)?, from_bytes(text)).await {
        Err(error) if error.kind() == Kind::AlreadyExists => Ok(()),
        put => put,
    }
}

/// Writes the page, or returns the warning. Backups are good without the page.
pub(crate) async fn upload_or_warn(destination: &str, store: &(impl Ship + ?Sized)) -> Option<String> {
    let error = upload(store).await.err()?;
    Some(format!("destination \"{destination}\" has no {RESTORE_PAGE}: {}", error.chain()))
}

#[cfg(test)]
mod tests {
    use longshore_core::key::BackupName;
    use longshore_testkit::memory::{Fault, MemoryStore, Operation};

    use super::*;

    #[test]
    fn page_key_is_not_a_backup_name() {
        let key = Key::parse(RESTORE_PAGE).unwrap();
        assert_eq!((BackupName::from_file_key(&key), BackupName::from_manifest_key(&key)), (None, None));
    }

    #[tokio::test]
    async fn existing_page_is_kept_and_failure_is_a_warning() {
        let store = MemoryStore::new();
        let key = Key::parse(RESTORE_PAGE).unwrap();
        store.put(&key, "a page of another author");
        assert_eq!(upload_or_warn("offsite", &store).await, None);
        assert_eq!(store.get(&key).unwrap(), "a page of another author");
        let store = MemoryStore::new();
        assert_eq!(upload_or_warn("offsite", &store).await, None);
        assert_eq!(store.get(&key).unwrap(), TEXT);
        let store = MemoryStore::new();
        store.fault_at(Operation::Ship, RESTORE_PAGE, Fault::Deny);
        let warning = upload_or_warn("offsite", &store).await.unwrap();
        assert!(warning.starts_with("destination \"offsite\" has no RESTORE.md: "), "{warning}");
    }
}
