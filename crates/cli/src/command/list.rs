//! `longshore list`: list the backups in the destinations.

mod entry;
mod filter;
mod series;
mod snapshots;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use longshore_core::key::BackupName;
use longshore_core::{Kind, Result};
use longshore_engine::catalogs::{Catalogued, read_catalogs};
use longshore_engine::encryption_policy::EncryptionPolicy;
use longshore_engine::identity;
use longshore_engine::listing::ListedBackup;
use longshore_engine::untrusted::is_untrusted;

use self::entry::{Entry, table};
use self::filter::Filter;
use crate::args::{List, State};
use crate::command::short_name::{ShortName, Times, name_column};
use crate::command::{Context, default_config_path};
use crate::exit_code::Exit;
use crate::output::{Column, Output, Table};
use crate::time_zone::TimeZone;

/// The number of damaged backups to name below a list of series.
const MAX_NAMED: usize = 10;

/// The result of a listing.
#[derive(Default)]
struct Listing {
    /// The backups, ordered by series and time.
    entries: Vec<Entry>,
    /// The number of files that belong to no backup, by destination.
    orphans: BTreeMap<String, usize>,
    /// The destinations that were read.
    read: Vec<Catalogued>,
    exit: Exit,
}

pub(super) async fn list(context: &Context, args: &List) -> Result<Exit> {
    let Context { config, output, .. } = context;
    if args.snapshots {
        return Ok(snapshots::list(context, args).await);
    }
    let filter = Filter::new(args)?;
    let mut listing = Listing::default();
    let mut entries: BTreeMap<BackupName, Entry> = BTreeMap::new();
    let mut reported = BTreeSet::new();
    for (destination, at) in read_catalogs(config, args.destination.as_deref()).await? {
        match at {
            Ok(at) => listing.add(context, at, &filter, &mut entries),
            Err(error) => {
                // Destinations on one host fail with the same error.
                if reported.insert(error.chain()) {
                    output.error(&error);
                }
                output.note(format_args!("destination \"{destination}\" could not be read"));
                listing.exit = worse(listing.exit, Exit::Partial);
            }
        }
    }
    if listing.read.is_empty() {
        if args.json.json {
            output.json(&Vec::<Entry>::new());
        }
        return Ok(Exit::Failed);
    }
    if listing.exit == Exit::Done {
        filter.expect_known(config, &listing.read)?;
    }
    listing.entries = filter.apply(entries.into_values().collect());
    if listing.entries.iter().any(Entry::is_damaged) {
        listing.exit = worse(listing.exit, Exit::Damaged);
    }
    if args.json.json {
        output.json(&listing.entries);
    } else {
        listing.show(*output, &filter, TimeZone::of(args.local.local));
        if !filter.each && args.subject.is_none() && args.job.is_none() {
            listing.suggest_drill(context);
        }
        snapshots::note(context).await;
    }
    Ok(listing.exit)
}

/// Returns the stored size of each full backup that has differences at a destination.
fn full_bytes(at: &Catalogued) -> HashMap<&BackupName, u64> {
    let differences = at.catalog.backups().filter_map(|backup| backup.manifest.artifact.difference.as_ref());
    let fulls: HashSet<&BackupName> = differences.map(|difference| &difference.full).collect();
    let backups = at.catalog.backups().filter(|backup| fulls.contains(&backup.name));
    backups.map(|backup| (&backup.name, backup.manifest.artifact.sealed.bytes)).collect()
}

impl Listing {
    /// Adds the backups of one destination.
    fn add(
        &mut self,
        context: &Context,
        at: Catalogued,
        filter: &Filter<'_>,
        entries: &mut BTreeMap<BackupName, Entry>,
    ) {
        for (_, error) in &at.catalog.unreadable {
            context.output.error(error);
            // A manifest of a newer version, or without permission to read, is no proof of damage.
            self.exit = worse(
                self.exit,
                match error.kind() {
                    Kind::Corrupt => Exit::Damaged,
                    _ if is_untrusted(error) => Exit::Refused,
                    _ => Exit::Partial,
                },
            );
        }
        for problem in &at.history {
            context.output.error(&problem.error(&at.name));
            self.exit = worse(self.exit, Exit::Refused);
        }
        if !at.catalog.orphans.is_empty() {
            self.orphans.insert(at.name.clone(), at.catalog.orphans.len());
        }
        let policy = EncryptionPolicy::of_config(&context.config);
        let destination = Arc::from(at.name.as_str());
        let full_bytes = full_bytes(&at);
        for backup in at.catalog.backups().filter(|backup| filter.matches(backup)) {
            let listed = || ListedBackup::of(backup).into();
            let entry = entries.entry(backup.name.clone()).or_insert_with(listed);
            entry.add_copy(&destination, backup, &policy);
            entry.compare_with_full(&full_bytes);
        }
        for file in at.catalog.adopted.values().flatten().filter(|file| filter.matches_adopted(file)) {
            let listed = || ListedBackup::of_adopted(file).into();
            entries.entry(file.name.clone()).or_insert_with(listed).add_adopted_copy(&destination, file);
        }
        self.read.push(at);
    }

    fn show(&self, output: Output, filter: &Filter<'_>, zone: TimeZone) {
        if self.entries.is_empty() {
            if self.exit == Exit::Done {
                output.note("no backups");
            }
        } else if filter.each {
            table(output, &self.entries, zone);
            self.show_short_name(output);
        } else {
            series::table(output, &self.entries, zone);
            self.show_attention(output, zone);
            output.note("list each backup with `longshore list --all`");
        }
        if !self.orphans.is_empty() {
            output.note(orphan_note(&self.orphans));
        }
    }

    /// Prints how other commands name a backup of the list.
    fn show_short_name(&self, output: Output) {
        let own = self.entries.iter().filter(|entry| !entry.is(State::Adopted));
        let names: Vec<ShortName> = own.map(Entry::short_name).collect();
        // Commands read times in this zone, also if the list has another one.
        let zone = TimeZone::of(false);
        if let Some(newest) = names.last() {
            let short_name = Times::of(zone, &names).text(newest);
            output.note(format_args!("name a backup in other commands as '{short_name}' ({})", zone.name()));
        }
    }

    /// Suggests a drill if no backup was drilled yet.
    fn suggest_drill(&self, context: &Context) {
        let Context { config, output, .. } = context;
        let Some(job) = self.entries.first().and_then(|entry| config.jobs.get(entry.job())) else { return };
        if self.entries.iter().any(|entry| !entry.drilled_at.is_empty()) {
            return;
        }
        let is_default = config.path == default_config_path();
        let flag = if is_default { String::new() } else { format!(" --config {}", config.path.display()) };
        let identity = identity::default_file(config)
            .filter(|_| config.identity.file.is_empty() && config.identity.command.is_none());
        let identity = identity.map(|file| format!(" --identity {}", file.display())).unwrap_or_default();
        let name = if config.jobs.len() == 1 { String::new() } else { format!(" {}", job.name) };
        output.note("no backup was drilled yet: a drill proves that it can be restored");
        output.hint(format_args!("longshore{flag} drill{name}{identity}"));
    }

    /// Prints the names of the backups that need attention; the line of a series only counts them.
    fn show_attention(&self, output: Output, zone: TimeZone) {
        let named: Vec<&Entry> = self.entries.iter().filter(|entry| entry.needs_attention()).collect();
        if named.is_empty() {
            return;
        }
        output.line("");
        let shown = &named[..named.len().min(MAX_NAMED)];
        let names: Vec<ShortName> = shown.iter().map(|entry| entry.short_name()).collect();
        let times = Times::of(zone, &names);
        let rows = shown.iter().zip(&names).map(|(entry, name)| {
            vec![name.series.as_str().into(), times.cell(name), entry.destination_states(), entry.name.as_str().into()]
        });
        let columns =
            [Column::text("ATTENTION").min(24), times.column(), Column::sentence("DESTINATIONS"), name_column()];
        output.table(&Table::new(columns).rows(rows));
        if named.len() > MAX_NAMED {
            let more = named.len() - MAX_NAMED;
            output.note(format_args!("and {more} more: see `longshore list --all`"));
        }
    }
}

/// Returns the worse of two exit codes. A damaged backup outweighs a refused one, and that an
/// unreadable destination.
fn worse(one: Exit, other: Exit) -> Exit {
    if let Some(worst) = [Exit::Damaged, Exit::Refused].into_iter().find(|exit| [one, other].contains(exit)) {
        worst
    } else if one == Exit::Done {
        other
    } else {
        one
    }
}

/// Describes the files that belong to no backup. They use space.
fn orphan_note(orphans: &BTreeMap<String, usize>) -> String {
    let total: usize = orphans.values().sum();
    let each = orphans.iter().map(|(destination, count)| format!("{count} at \"{destination}\""));
    format!(
        "{total} {} to no backup ({}): from an interrupted or current run, or from another program",
        if total == 1 { "file belongs" } else { "files belong" },
        each.collect::<Vec<_>>().join(", "),
    )
}
