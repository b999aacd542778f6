//! What was recorded of a backup while it was dumped: its details, fetched and opened.

use longshore_core::catalog::Backup;
use longshore_core::meter::expect;
use longshore_core::plugin::{GIVE_IDENTITY, Identities};
use longshore_core::stage::Store;
use longshore_core::stream::collect;
use longshore_core::{Error, Kind, Result, Stage};
use serde_json::{Map, Value};

use crate::registry::Registry;
use crate::verify::opener;

/// The most bytes that a backup's details may have.
const MAX_DETAILS_BYTES: usize = 256 << 20;

/// What those who judged a dump found in it, if that is to be had here.
pub(crate) async fn record(
    registry: &Registry,
    identities: &Identities,
    store: &dyn Store,
    backup: &Backup,
) -> Result<Option<Map<String, Value>>> {
    let Some(file) = &backup.manifest.details else { return Ok(None) };
    let key = file.key.as_str();
    let opener = opener(registry, identities, backup)?;
    let sealed = expect(store.fetch(&file.key, None).await?, file.sealed.clone(), key.to_owned());
    let opened = match (&backup.manifest.artifact.encryption, opener) {
        (None, _) => sealed,
        (Some(_), Some(opener)) => opener.decrypt(sealed, key).await?,
        (Some(encryption), None) => {
            let error = Error::new(Stage::Decrypt, Kind::Usage, key, format!("sealed with {encryption}"));
            return Err(error.hint(GIVE_IDENTITY));
        }
    };
    let bytes = collect(opened, MAX_DETAILS_BYTES, Stage::Catalog, key).await?;
    let details: Map<String, Value> = serde_json::from_slice(&bytes)
        .map_err(|error| Error::new(Stage::Catalog, Kind::Corrupt, key, "not a record of a dump").because(error))?;
    // A record of warnings alone says nothing of what is in the dump.
    Ok(details.keys().any(|key| key != "warnings").then_some(details))
}
