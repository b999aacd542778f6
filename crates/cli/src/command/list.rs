//! `longshore list`: the backups that lie in the destinations.

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

/// How many damaged backups are named beneath a list of series.
const NAMED: usize = 10;

/// The result of a listing.
#[derive(Default)]
struct Found {
    /// The backups, in the order of their series and, in each, of their times.
    lines: Vec<Line>,
    /// How many files belong to no backup, by destination.
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
                // Destinations on one host fail alike.
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
            // What a newer version wrote, or what we may not read, is whole for all we know.
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
            output.note("`longshore list --all` shows each backup");
        }
        if !self.orphans.is_empty() {
            output.note(strangers(&self.orphans));
        }
    }

    /// Names the backups that need attention, which the line of a series only counts.
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
            output.note(format_args!("and {more} more: `longshore list --all` shows them"));
        }
    }
}

/// The worse of two ends of a listing: a damaged backup outweighs a destination that could not be read.
fn worse(one: Exit, other: Exit) -> Exit {
    if [one, other].contains(&Exit::Damaged) {
        Exit::Damaged
    } else if one == Exit::Done {
        other
    } else {
        one
    }
}

/// How many files belong to no backup: they take room, and nothing ever removes them.
fn strangers(orphans: &BTreeMap<String, usize>) -> String {
    let total: usize = orphans.values().sum();
    let each = orphans.iter().map(|(destination, count)| format!("{count} at \"{destination}\""));
    format!(
        "{total} {} to no backup ({}): left by a run that was cut off or is at work, or put there by somebody else",
        if total == 1 { "file belongs" } else { "files belong" },
        each.collect::<Vec<_>>().join(", "),
    )
}
