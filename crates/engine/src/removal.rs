//! Statements of removals: signed run reports that are written before backups are deleted, so that
//! a reader can distinguish a prune from a deletion by a stranger.

use std::collections::BTreeMap;

use chrono::{SubsecRound, Utc};
use longshore_catalog::catalog::Backup;
use longshore_core::key::BackupName;
use longshore_core::meter::Digest;
use longshore_core::pipeline::{ship_record, sign_record};
use longshore_core::run_report::{FORMAT, Id, Outcome, ReportName, RunReport};
use longshore_core::stage::Store;
use longshore_core::{Error, Kind, Result, Stage};

use crate::report_retention::REMOVAL;

/// Writes statements that these backups are to be deleted at a destination, one for each job.
/// Writes none if this host neither signs nor verifies records.
///
/// # Errors
///
/// Fails if a statement cannot be signed or stored: without it, the deletion would be reported as
/// one by a stranger.
pub(crate) async fn state_removals(
    store: &dyn Store,
    destination: &str,
    backups: impl Iterator<Item = &Backup>,
) -> Result<()> {
    let Some(signatures) = store.capabilities().signatures else { return Ok(()) };
    let mut has_signed = false;
    let mut jobs: BTreeMap<(&str, &str), Vec<BackupName>> = BTreeMap::new();
    for backup in backups {
        has_signed |= signatures.verifies() && backup.signature.signer().is_some();
        let job = (backup.manifest.cluster.name.as_str(), backup.manifest.job.as_str());
        jobs.entry(job).or_default().push(backup.name.clone());
    }
    for ((cluster, job), names) in jobs {
        let statement = statement((cluster, job), destination, names);
        let key = ReportName::new(cluster, job, statement.id.clone()).key()?;
        let bytes = statement.to_bytes()?;
        let signed = sign_record(store, &key, &bytes).await.map_err(|error| {
            let message = "nothing was deleted, since the deletion cannot be signed";
            Error::new(Stage::Trust, Kind::Refused, destination, message)
                .hint(error.remedy().unwrap_or("let a host prune whose key has the role \"prune\"").to_owned())
                .because(error)
        })?;
        let Some((signature_key, signature)) = signed else {
            let message = "nothing was deleted: this host verifies signatures, and cannot sign the deletion";
            let refused = || Error::new(Stage::Trust, Kind::Refused, destination, message);
            let hint = "set key in [signing], or let a host prune whose key has the role \"prune\"";
            return if has_signed { Err(refused().hint(hint)) } else { Ok(()) };
        };
        ship_record(store, &key, bytes.into()).await?;
        ship_record(store, &signature_key, signature).await?;
    }
    Ok(())
}

fn statement((cluster, job): (&str, &str), destination: &str, names: Vec<BackupName>) -> RunReport {
    let now = Utc::now().trunc_subsecs(3);
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let seed = format!("{host} {} {destination} {names:?} {:?}", std::process::id(), Utc::now());
    RunReport {
        format: FORMAT,
        longshore: env!("CARGO_PKG_VERSION").to_owned(),
        id: Id::new(now, REMOVAL, Digest::of(seed.as_bytes()).hex()),
        verb: REMOVAL.to_owned(),
        job: Some(job.to_owned()),
        cluster: Some(cluster.to_owned()),
        run: None,
        host,
        begun: now,
        ended: Some(now),
        exit_code: None,
        outcome: Outcome::Done,
        error: None,
        subjects: Vec::new(),
        left_out: Vec::new(),
        removed: BTreeMap::from([(destination.to_owned(), names)]),
        counts: BTreeMap::new(),
        previous: None,
        terms: None,
    }
}
