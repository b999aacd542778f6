//! The durations of restores, as recorded by drills.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};
use longshore_catalog::catalog::Series;
use longshore_core::drill::Drill;
use longshore_core::mark::{MarkKind, MarkName};
use longshore_core::stage::Store;
use longshore_core::stream::collect;
use longshore_core::{Error, Kind, Result, Stage};

use super::report::DrillTime;
use crate::catalogs::Catalogued;

/// The number of drills of a series that are read: the last ones.
const MAX_DRILLS: usize = 8;
/// The number of records fetched concurrently.
const MAX_CONCURRENT: usize = 16;
/// The maximum size of a drill's record in bytes: an unencrypted record contains all comparisons.
const MAX_DRILL_BYTES: usize = 64 << 20;

/// The last drills of each series.
pub(super) type Drills = BTreeMap<Series, Vec<DrillTime>>;

/// Reads the records of the last drills of every requested series. Also returns the errors of
/// unreadable records.
pub(super) async fn drills(
    catalogs: &[Catalogued],
    wanted: impl Fn(&Series) -> bool,
) -> (Drills, Vec<(String, Error)>) {
    let mut marks: BTreeMap<&Series, Vec<(&Catalogued, &MarkName)>> = BTreeMap::new();
    for at in catalogs {
        for (series, backups) in at.catalog.series.iter().filter(|(series, _)| wanted(series)) {
            let drilled = backups.iter().flat_map(|backup| backup.marks.effective(MarkKind::Drilled));
            let drilled = drilled.map(|name| (at, name));
            marks.entry(series).or_default().extend(drilled);
        }
    }
    let wanted = marks.into_iter().flat_map(|(series, mut marks)| {
        marks.sort_by_key(|(_, name)| std::cmp::Reverse(name.time));
        marks.truncate(MAX_DRILLS);
        marks.into_iter().map(move |(at, name)| (series, at, name))
    });
    let mut read = stream::iter(wanted)
        .map(async |(series, at, name)| (series, at, name, record(&*at.store, name).await))
        .buffered(MAX_CONCURRENT);
    let (mut drills, mut errors) = (Drills::new(), Vec::new());
    while let Some((series, at, name, record)) = read.next().await {
        match record {
            Ok(drill) => drills.entry(series.clone()).or_default().push(DrillTime {
                backup: name.backup.clone(),
                destination: at.name.clone(),
                finished: drill.finished,
                seconds: drill.restore_seconds(),
            }),
            // Deleted with its backup since it was listed.
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => errors.push((at.name.clone(), error)),
        }
    }
    (drills, errors)
}

async fn record(store: &dyn Store, name: &MarkName) -> Result<Drill> {
    let key = name.key()?;
    let bytes = collect(store.fetch(&key, None).await?, MAX_DRILL_BYTES, Stage::Catalog, key.as_str()).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Error::new(Stage::Catalog, Kind::Corrupt, key.as_str(), "not the record of a drill").because(error)
    })
}
