//! The page that lies in every destination and says how to restore from there without Longshore.

use longshore_core::key::{Key, PAGE};
use longshore_core::stage::Ship;
use longshore_core::stream::from_bytes;
use longshore_core::{Kind, Result};

/// What it says: the same in every destination and at all times, since it is never overwritten.
const TEXT: &str = include_str!("by_hand/RESTORE.md");

/// Puts the page there, unless one is there.
pub(crate) async fn put(store: &(impl Ship + ?Sized)) -> Result<()> {
    match store.ship(&Key::parse(PAGE)?, from_bytes(TEXT)).await {
        Err(error) if error.kind() == Kind::AlreadyExists => Ok(()),
        put => put,
    }
}

/// Puts it there, or tells why it is not. Backups are good without it.
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
        store.put(&key, "somebody's own");
        assert_eq!(put_or_warn("offsite", &store).await, None);
        assert_eq!(store.get(&key).unwrap(), "somebody's own");
        let store = MemoryStore::new();
        assert_eq!(put_or_warn("offsite", &store).await, None);
        assert_eq!(store.get(&key).unwrap(), TEXT);
        let store = MemoryStore::new();
        store.fault_at(Operation::Ship, PAGE, Fault::Deny);
        let warning = put_or_warn("offsite", &store).await.unwrap();
        assert!(warning.starts_with("destination \"offsite\" has no RESTORE.md: "), "{warning}");
    }
}
