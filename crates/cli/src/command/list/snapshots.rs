//! The snapshots that stay on this host.

use chrono::{DateTime, Utc};
use indicatif::HumanBytes;
use longshore_core::key::BackupName;
use longshore_engine::snapshots::{HostSnapshot, HostSnapshots};
use serde::Serialize;

use crate::args::List;
use crate::command::Context;
use crate::exit_code::Exit;
use crate::output::{Column, Table};
use crate::time_zone::TimeZone;

/// A snapshot, for JSON.
#[derive(Serialize)]
struct Snapshot<'a> {
    name: &'a str,
    cluster: &'a str,
    job: &'a str,
    time: DateTime<Utc>,
    /// The backup that was read from the snapshot.
    backup: Option<BackupName>,
    file_bytes: Option<u64>,
}

impl<'a> Snapshot<'a> {
    fn of(found: &'a HostSnapshot) -> Self {
        let manifest = &found.kept.manifest;
        Self {
            name: &found.kept.name,
            cluster: found.cluster(),
            job: &manifest.job,
            time: manifest.time.time(),
            backup: manifest.name().ok(),
            file_bytes: manifest.base.as_ref().map(|base| base.file_bytes),
        }
    }
}

/// Lists the snapshots on this host.
pub(super) async fn list(context: &Context, args: &List) -> Exit {
    let Context { config, output, .. } = context;
    let HostSnapshots { found, errors } = HostSnapshots::find(config).await;
    for error in &errors {
        output.error(error);
    }
    let exit = if errors.is_empty() { Exit::Done } else { Exit::Partial };
    let shown = found.iter().map(Snapshot::of);
    let shown: Vec<_> = shown.filter(|found| args.job.as_ref().is_none_or(|job| job == found.job)).collect();
    if args.json.json {
        let printed = output.json(&shown);
        return if printed == Exit::Done { exit } else { printed };
    }
    if shown.is_empty() {
        output.note("no snapshots are kept on this host");
        return exit;
    }
    let zone = TimeZone::of(args.local.local);
    let rows = shown.iter().map(|found| {
        let size = found.file_bytes.map_or_else(|| "?".to_owned(), |bytes| HumanBytes(bytes).to_string());
        vec![found.name.into(), found.cluster.into(), found.job.into(), zone.minute(found.time).into(), size.into()]
    });
    let columns = [
        Column::text("SNAPSHOT"),
        Column::text("CLUSTER"),
        Column::text("JOB"),
        Column::text(format!("TAKEN ({})", zone.name())),
        Column::text("FILES"),
    ];
    output.table(&Table::new(columns).rows(rows));
    output.note("they are no backups, and are lost with this host");
    exit
}

/// Prints a note if there are snapshots on this host.
pub(super) async fn note(context: &Context) {
    let count = HostSnapshots::find(&context.config).await.found.len();
    match count {
        0 => {}
        1 => context.output.note("1 snapshot is kept on this host: `longshore list --snapshots`"),
        _ => context.output.note(format_args!("{count} snapshots are kept on this host: `longshore list --snapshots`")),
    }
}
