//! Optional capabilities of destinations, and the absence of side effects in checks.

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use longshore_core::Kind;
use longshore_core::check::Outcome;
use longshore_core::lock::Holder;

use super::Fixture;

/// A check cleans up everything that it creates.
pub async fn check_succeeds_and_leaves_nothing(fixture: &Fixture) {
    let before: Vec<_> = fixture.store.list(None).await.unwrap().try_collect().await.unwrap();
    let findings = fixture.ship.check().await;
    assert!(!findings.is_empty(), "a check without findings has checked nothing");
    let amiss: Vec<_> = findings.iter().filter(|finding| finding.outcome == Outcome::Failed).collect();
    assert!(amiss.is_empty(), "{amiss:?}");
    let after: Vec<_> = fixture.store.list(None).await.unwrap().try_collect().await.unwrap();
    assert_eq!(before, after);
}

/// The error of a second claim names the holder of the first. Destinations without claims pass.
pub async fn claims_are_held_until_dropped(fixture: &Fixture) {
    let Some(exclusive) = fixture.ship.capabilities().exclusive_lock else {
        return;
    };
    let first = exclusive.claim("nightly", &holder("run of job nightly")).await.unwrap();
    let refused = exclusive.claim("nightly", &holder("another run")).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Locked, "{}", refused.chain());
    assert!(refused.chain().contains("run of job nightly"), "{}", refused.chain());
    drop(first);
    let second = exclusive.claim("nightly", &holder("another run")).await.unwrap();
    assert!(second.previous.unwrap().contains("run of job nightly"));
}

/// Claims with similar names do not conflict, even if the names are encoded as file names.
/// Destinations without claims pass.
pub async fn claims_of_other_names_do_not_conflict(fixture: &Fixture) {
    let Some(exclusive) = fixture.ship.capabilities().exclusive_lock else {
        return;
    };
    let before: Vec<_> = fixture.store.list(None).await.unwrap().try_collect().await.unwrap();
    let mut held = Vec::new();
    for name in ["app", "app-prod", "a/b", "a_b", "a%2Fb", "..", "ä"] {
        held.push(exclusive.claim(name, &holder(name)).await.unwrap());
    }
    let after: Vec<_> = fixture.store.list(None).await.unwrap().try_collect().await.unwrap();
    assert_eq!(before, after, "a claim is not listed in the destination");
}

/// Destinations that cannot report their free space pass.
pub async fn reports_free_space(fixture: &Fixture) {
    if let Some(room) = fixture.ship.capabilities().free_space {
        assert!(room.free_bytes().await.unwrap() > 0);
    }
}

fn holder(work: &str) -> Holder {
    Holder { work: work.to_owned(), since: DateTime::<Utc>::UNIX_EPOCH }
}
