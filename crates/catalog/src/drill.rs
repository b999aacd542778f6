//! Reading and writing the records of drills.

use chrono::{DateTime, Utc};
use longshore_core::pipeline::encrypt_json;
use longshore_core::stage::{Encrypt, Ship, Store};
use longshore_core::stream::{collect, from_bytes};
use longshore_model::drill::{Drill, Verdict};
use longshore_model::key::Timestamp;
use longshore_model::mark::{MarkKind, MarkName};
use longshore_model::{Error, Kind, Result, Stage};

use crate::mark::put_content;

/// The maximum size of a record in bytes.
const MAX_BYTES: usize = 64 << 20;

/// Stores a drill's record beside the backup as a mark. `time` must not be earlier than the
/// existing marks. With `encrypt`, the confidential part is stored in an encrypted file beside the
/// mark. A drill without a result stores nothing.
pub async fn put(
    drill: &Drill,
    store: &dyn Ship,
    encrypt: Option<&dyn Encrypt>,
    time: DateTime<Utc>,
) -> Result<Option<MarkName>> {
    let kind = match drill.verdict {
        Verdict::Good => MarkKind::Drilled,
        Verdict::Damaged => MarkKind::Damaged,
        Verdict::Unrestorable | Verdict::NotDrilled => return Ok(None),
    };
    let name = MarkName { backup: drill.backup.clone(), kind, time: Timestamp::new(time) };
    let Some(encrypt) = encrypt else {
        return put_content(drill, store, name).await.map(Some);
    };
    let (open, details) = drill.clone().split_confidential();
    let record = serde_json::to_value(details).map_err(|error| {
        Error::new(Stage::Catalog, Kind::Failed, drill.backup.as_str(), "cannot write the record").because(error)
    })?;
    let (extension, sealed) = encrypt_json(Some(encrypt), &record, drill.backup.as_str()).await?;
    // The mark reserves its second for both files.
    let name = put_content(&open, store, name).await?;
    store.ship(&name.details(extension)?, from_bytes(sealed)).await?;
    Ok(Some(name))
}

/// Fetches and parses the record in a mark.
pub async fn get(store: &dyn Store, name: &MarkName) -> Result<Drill> {
    let key = name.key()?;
    let bytes = collect(store.fetch(&key, None).await?, MAX_BYTES, Stage::Catalog, key.as_str()).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Error::new(Stage::Catalog, Kind::Corrupt, key.as_str(), "not the record of a drill").because(error)
    })
}
