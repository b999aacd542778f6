//! The page in every destination about restoring without Longshore.

use longshore_core::key::{Key, PAGE};
use longshore_core::stage::Ship;
use longshore_core::stream::from_bytes;
use longshore_core::{Kind, Result};

/// The text of the page: the same at every destination. An existing page is never overwritten.
const TEXT: &str = include_str!("by_hand/RESTORE.md");

/// Writes the page, unless the destination has one.
pub(crate) async fn put(store: &(impl Ship + ?Sized)) -> Result<()> {
    match store.ship(&Key::parse(PAGE)?, from_bytes(TEXT)).await {
        Err(error) if error.kind() == Kind::AlreadyExists => Ok(()),
        put => put,
    }
}

/// Writes the page, or returns the warning. Backups are good without the page.
pub(crate) async fn put_or_warn(destination: &str, store: &(impl Ship + ?Sized)) -> Option<String> {
    let error = put(store).await.err()?;
    Some(format!("destination \"{destination}\" has no {PAGE}: {}", error.chain()))
}

#[cfg(test)]
mod tests {
    use longshore_core::key::BackupName;
    use longshore_testkit::memory::{Fault, MemoryStore, Operation};

    use super::*;

    #[test]
    fn the_page_is_no_backups() {
        let key = Key::parse(PAGE).unwrap();
        assert_eq!((BackupName::of_file(&key), BackupName::of_manifest(&key)), (None, None));
    }

    #[tokio::test]
    async fn what_lies_there_is_left_and_what_fails_is_a_warning() {
        let store = MemoryStore::new();
        let key = Key::parse(PAGE).unwrap();
        store.put(&key, "a page of another author");
        assert_eq!(put_or_warn("offsite", &store).await, None);
        assert_eq!(store.get(&key).unwrap(), "a page of another author");
        let store = MemoryStore::new();
        assert_eq!(put_or_warn("offsite", &store).await, None);
        assert_eq!(store.get(&key).unwrap(), TEXT);
        let store = MemoryStore::new();
        store.fault_at(Operation::Ship, PAGE, Fault::Deny);
        let warning = put_or_warn("offsite", &store).await.unwrap();
        assert!(warning.starts_with("destination \"offsite\" has no RESTORE.md: "), "{warning}");
    }
}
