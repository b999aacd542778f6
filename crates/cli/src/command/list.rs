//! `longshore list`: list the backups in the destinations.

mod line;
mod series;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};

use longshore_core::key::BackupName;
use longshore_core::{Kind, Result};
use longshore_service::catalogs::{Catalogued, catalogs};
use longshore_service::unsealed::Sealing;

use self::line::{Line, table};
use self::wanted::Wanted;
use crate::args::List;
use crate::command::Context;
use crate::exit_code::Exit;
use crate::output::Output;
use crate::zone::Zone;

/// The number of damaged backups to name below a list of series.
const NAMED: usize = 10;

/// The result of a listing.
#[derive(Default)]
struct Found {
    /// The backups, ordered by series and time.
    lines: Vec<Line>,
    /// The number of files that belong to no backup, by destination.
    orphans: BTreeMap<String, usize>,
    /// The destinations that were read.
    read: Vec<Catalogued>,
    exit: Exit,
}

pub(super) async fn list(context: &Context, args: &List) -> Result<Exit> {
    let Context { config, output, .. } = context;
    let wanted = Wanted::new(args)?;
    let mut found = Found::default();
    let mut lines: BTreeMap<BackupName, Line> = BTreeMap::new();
    let mut told = BTreeSet::new();
    for (destination, at) in catalogs(config, args.destination.as_deref()).await? {
        match at {
            Ok(at) => found.look(context, at, &wanted, &mut lines),
            Err(error) => {
                // Destinations on one host fail with the same error.
                if told.insert(error.chain()) {
                    output.error(&error);
                }
                output.note(format_args!("destination \"{destination}\" could not be read"));
                found.exit = worse(found.exit, Exit::Partial);
            }
        }
    }
    if found.read.is_empty() {
        if args.json.json {
            output.json(&Vec::<Line>::new());
        }
        return Ok(Exit::Failed);
    }
    if found.exit == Exit::Done {
        wanted.expect_known(config, &found.read)?;
    }
    found.lines = wanted.chosen(lines.into_values().collect());
    if found.lines.iter().any(Line::is_damaged) {
        found.exit = worse(found.exit, Exit::Damaged);
    }
    if args.json.json {
        output.json(&found.lines);
    } else {
        found.show(*output, &wanted, Zone::of(args.local.local));
    }
    Ok(found.exit)
}

impl Found {
    /// Adds the backups of one destination.
    fn look(&mut self, context: &Context, at: Catalogued, wanted: &Wanted<'_>, lines: &mut BTreeMap<BackupName, Line>) {
        for (_, error) in &at.catalog.unreadable {
            context.output.error(error);
            // A manifest of a newer version, or without permission to read, is no proof of damage.
            self.exit = worse(self.exit, if error.kind() == Kind::Corrupt { Exit::Damaged } else { Exit::Partial });
        }
        if !at.catalog.orphans.is_empty() {
            self.orphans.insert(at.name.clone(), at.catalog.orphans.len());
        }
        let sealing = Sealing::of_config(&context.config);
        for backup in at.catalog.backups().filter(|backup| wanted.means(backup)) {
            lines.entry(backup.name.clone()).or_insert_with(|| Line::of(backup)).seen(&at.name, backup, &sealing);
        }
        for file in at.catalog.adopted.values().flatten().filter(|file| wanted.means_adopted(file)) {
            lines.entry(file.name.clone()).or_insert_with(|| Line::of_adopted(file)).seen_adopted(&at.name, file);
        }
        self.read.push(at);
    }

    fn show(&self, output: Output, wanted: &Wanted<'_>, zone: Zone) {
        if self.lines.is_empty() {
            if self.exit == Exit::Done {
                output.note("no backups");
            }
        } else if wanted.each {
            table(output, &self.lines, zone);
        } else {
            series::table(output, &self.lines, zone);
            self.show_attention(output);
            output.note("list each backup with `longshore list --all`");
        }
        if !self.orphans.is_empty() {
            output.note(strangers(&self.orphans));
        }
    }

    /// Prints the names of the backups that need attention; the line of a series only counts them.
    fn show_attention(&self, output: Output) {
        let named: Vec<&Line> = self.lines.iter().filter(|line| line.needs_attention()).collect();
        if named.is_empty() {
            return;
        }
        output.line("");
        let row = |line: &&Line| vec![line.name.to_string(), line.places()];
        let rows: Vec<_> = named.iter().take(NAMED).map(row).collect();
        output.table(&["ATTENTION", "DESTINATIONS"], &rows);
        if named.len() > NAMED {
            let more = named.len() - NAMED;
            output.note(format_args!("and {more} more: see `longshore list --all`"));
        }
    }
}

/// Returns the worse of two exit codes. A damaged backup outweighs an unreadable destination.
fn worse(one: Exit, other: Exit) -> Exit {
    if [one, other].contains(&Exit::Damaged) {
        Exit::Damaged
    } else if one == Exit::Done {
        other
    } else {
        one
    }
}

/// Describes the files that belong to no backup. They use space.
fn strangers(orphans: &BTreeMap<String, usize>) -> String {
    let total: usize = orphans.values().sum();
    let each = orphans.iter().map(|(destination, count)| format!("{count} at \"{destination}\""));
    format!(
        "{total} {} to no backup ({}): from an interrupted or current run, or from another program",
        if total == 1 { "file belongs" } else { "files belong" },
        each.collect::<Vec<_>>().join(", "),
    )
}
