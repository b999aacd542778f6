//! Headers that a destination lacks, although it has the file of another destination: it could not
//! be reached when the backups were rekeyed.

use std::collections::BTreeSet;

use chrono::Utc;
use longshore_catalog::catalog::Backup;
use longshore_catalog::copy::copy_header;
use longshore_config::Job;
use longshore_core::Result;
use longshore_core::header::HeaderName;
use longshore_retention::CLOCK_TOLERANCE;
use serde::Serialize;

use super::job_backups;
use crate::catalogs::Catalogued;
use crate::error_report::ErrorReport;
use crate::mode::Mode;

/// The most headers copied to a backup at once: a destination may be full of files that only have
/// the names of headers.
const MOST_COPIED: usize = 64;

/// The headers that were copied to a destination.
#[derive(Debug, Serialize)]
pub struct HeadersCopied {
    /// The destination.
    pub to: String,
    /// The number of headers.
    pub headers: usize,
    /// The error that ended the copying.
    pub error: Option<ErrorReport>,
}

/// Copies missing headers between destinations that have the same files. Backups that a destination
/// lacks are copied with their headers.
pub(super) async fn copy_missing(job: &Job, all: &[Catalogued], mode: Mode) -> Vec<HeadersCopied> {
    let mut copied = Vec::new();
    for to in all {
        let missing: Vec<_> = job_backups(job, to).flat_map(|own| missing(job, all, to, own)).collect();
        if missing.is_empty() {
            continue;
        }
        let mut done = HeadersCopied { to: to.name.clone(), headers: 0, error: None };
        for (from, header) in missing {
            match copy(from, to, header, mode).await {
                Ok(()) => done.headers += 1,
                Err(error) => {
                    done.error = Some(ErrorReport::from(&error));
                    break;
                }
            }
        }
        copied.push(done);
    }
    copied
}

async fn copy(from: &Catalogued, to: &Catalogued, header: &HeaderName, mode: Mode) -> Result<()> {
    match mode {
        Mode::Act => copy_header(&*from.store, &*to.store, header).await,
        Mode::DryRun => Ok(()),
    }
}

/// Returns the headers of a backup's artifact and details that another destination has, and this
/// one lacks.
fn missing<'a>(
    job: &'a Job,
    all: &'a [Catalogued],
    to: &Catalogued,
    own: &Backup,
) -> Vec<(&'a Catalogued, &'a HeaderName)> {
    let files: BTreeSet<_> = own.manifest.files().map(|file| file.key).collect();
    let mut known: BTreeSet<&HeaderName> = own.headers.iter().collect();
    let mut missing = Vec::new();
    for at in all.iter().filter(|at| at.name != to.name) {
        let same = |backup: &&Backup| backup.name == own.name && backup.manifest.artifact == own.manifest.artifact;
        for header in job_backups(job, at).filter(same).flat_map(|backup| &backup.headers) {
            let is_past = header.time.time() <= Utc::now() + CLOCK_TOLERANCE;
            if is_past && files.contains(&header.sealed) && !known.contains(header) && missing.len() < MOST_COPIED {
                known.insert(header);
                missing.push((at, header));
            }
        }
    }
    missing
}
