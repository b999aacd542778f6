//! Reading and writing marks.

use chrono::{DateTime, TimeDelta, Utc};
use longshore_core::stage::{Ship, Store};
use longshore_core::stream::{collect, from_bytes};
use longshore_model::key::{BackupName, Timestamp};
use longshore_model::mark::{MAX_MARK_BYTES, Mark, MarkKind, MarkName, Marks};
use longshore_model::{Error, Kind, Result, Stage};
use serde::Serialize;

/// Stores a mark beside a backup. If a mark of the same second exists, uses the next second.
pub async fn put(
    mark: &Mark,
    store: &dyn Ship,
    backup: &BackupName,
    kind: MarkKind,
    time: DateTime<Utc>,
) -> Result<MarkName> {
    put_content(mark, store, MarkName { backup: backup.clone(), kind, time: Timestamp::new(time) }).await
}

/// Fetches and parses a mark.
async fn get(store: &dyn Store, name: &MarkName) -> Result<Mark> {
    let key = name.key()?;
    let bytes = collect(store.fetch(&key, None).await?, MAX_MARK_BYTES, Stage::Catalog, key.as_str()).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::new(Stage::Catalog, Kind::Corrupt, key.as_str(), "not a mark").because(error))
}

/// Combines the marks of a backup at `now`, and fetches marks whose names do not suffice. Fails if
/// `lost` returns an error for a failed fetch.
pub async fn read(
    store: &dyn Store,
    names: Vec<MarkName>,
    now: DateTime<Utc>,
    lost: impl Fn(&Error) -> Result<()>,
) -> Result<Marks> {
    let marks = Marks::named(names, now);
    let mut contents = Vec::new();
    for name in marks.to_read() {
        match get(store, &name).await {
            Err(error) if error.kind() == Kind::NotFound => {}
            content => {
                if let Err(error) = &content
                    && !matches!(error.kind(), Kind::Corrupt | Kind::Denied)
                {
                    lost(error)?;
                }
                contents.push((name, content));
            }
        }
    }
    Ok(marks.with_contents(contents))
}

/// Stores a mark's content beside a backup. If a mark of the same second exists, uses the next
/// second.
pub(crate) async fn put_content(content: &impl Serialize, store: &dyn Ship, mut name: MarkName) -> Result<MarkName> {
    let mut bytes = serde_json::to_vec_pretty(content).map_err(|error| {
        Error::new(Stage::Catalog, Kind::Failed, name.backup.as_str(), "cannot write a mark").because(error)
    })?;
    bytes.push(b'\n');
    loop {
        match store.ship(&name.key()?, from_bytes(bytes.clone())).await {
            Err(error) if error.kind() == Kind::AlreadyExists => {
                name.time = Timestamp::new(name.time.time() + TimeDelta::seconds(1));
            }
            shipped => return shipped.map(|()| name),
        }
    }
}
