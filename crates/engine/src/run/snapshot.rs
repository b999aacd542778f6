//! The snapshot that a backup was read from.

use longshore_core::pipeline::Shipped;

/// Keeps the snapshot on this host if a destination stored the backup; else it is removed. Returns
/// warnings, since the backup is good without the snapshot.
pub(super) async fn keep(shipped: &mut Shipped) -> Vec<String> {
    let Some(snapshot) = shipped.snapshot.take() else { return Vec::new() };
    let is_stored = shipped.deliveries.iter().any(|delivery| delivery.result.is_ok());
    match shipped.manifest.as_ref().filter(|_| is_stored) {
        Some(manifest) => snapshot
            .keep(manifest)
            .await
            .unwrap_or_else(|error| vec![format!("the snapshot does not stay on this host: {}", error.chain())]),
        None => Vec::new(),
    }
}
