//! Withdrawing wrong marks, by a mark that lists the marks that no longer count.

use chrono::{DateTime, TimeDelta, Utc};
use longshore_catalog::catalog::Backup;
use longshore_config::Config;
use longshore_core::mark::{Mark, MarkKind, MarkName};
use longshore_core::{Error, Kind, Result, Stage};

use crate::catalogs::{JobChoice, NamedBackup, find_name, read_available};
use crate::error_report::ErrorReport;
use crate::hold::{Marked, mark};

/// The kinds of marks that can be withdrawn. Holds are released instead.
pub const WITHDRAWABLE: [MarkKind; 4] =
    [MarkKind::Damaged, MarkKind::Unrestorable, MarkKind::Verified, MarkKind::Drilled];

/// Withdraws all marks of these kinds from a backup, at every destination that has it, or at the
/// one named. The name of a series means its newest backup.
pub async fn withdraw(
    config: &Config,
    NamedBackup { words, job }: NamedBackup<'_>,
    only: Option<&str>,
    which: &[MarkKind],
    why: &str,
) -> Result<Vec<Marked>> {
    let (catalogs, errors) = read_available(config, only).await?;
    let name = find_name(&catalogs, words, JobChoice::Flag(job))?;
    let mut all: Vec<Marked> = Vec::new();
    for at in &catalogs {
        for backup in at.catalog.backups().filter(|backup| backup.name == name) {
            let wrong: Vec<&MarkName> = which.iter().flat_map(|kind| backup.marks.effective(*kind)).collect();
            if wrong.is_empty() {
                continue;
            }
            let withdrawal = Mark { withdraws: wrong.iter().map(|mark| mark.label()).collect(), ..mark(None, why) };
            let put = longshore_catalog::mark::put(
                &withdrawal,
                &*at.store,
                &backup.name,
                MarkKind::Withdrawn,
                after_all(backup),
            )
            .await;
            all.push(Marked {
                destination: at.name.clone(),
                name: backup.name.clone(),
                error: put.err().as_ref().map(ErrorReport::from),
            });
        }
    }
    if all.is_empty() && errors.is_empty() {
        let words: Vec<String> = which.iter().map(MarkKind::to_string).collect();
        let message = format!("has no mark {}", words.join(" or "));
        return Err(Error::new(Stage::Catalog, Kind::Usage, name.as_str(), message)
            .hint("`longshore list` shows the marks of each backup"));
    }
    // A destination whose catalog cannot be read may have the backup, too.
    all.extend(errors.iter().map(|error| Marked {
        destination: error.subject().to_owned(),
        name: name.clone(),
        error: Some(ErrorReport::from(error)),
    }));
    Ok(all)
}

/// Returns a time after all marks of a backup.
fn after_all(backup: &Backup) -> DateTime<Utc> {
    let last = backup.marks.last().map(|last| last.time());
    last.map_or_else(Utc::now, |last| Utc::now().max(last + TimeDelta::seconds(1)))
}
