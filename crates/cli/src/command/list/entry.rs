//! One backup of a list, with its copies in all destinations.

use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};

use chrono::TimeDelta;
use indicatif::HumanBytes;
use longshore_engine::listing::{Condition, Description, Held, ListedBackup};
use serde::Serialize;

use crate::args;
use crate::command::short_name::{ShortName, Times, age_ago, backup_column, name_column, series_name};
use crate::output::{Cell, Column, Output, Priority, State, Table};
use crate::time_zone::TimeZone;

/// The type of an incremental base backup.
const INCREMENTAL: &str = "incremental";

/// The type of a dump that is stored as its difference from a full one.
const DIFFERENCE: &str = "difference";

/// The type of a base backup from a snapshot that the server took no part in.
const CRASH_CONSISTENT: &str = "crash-consistent";

/// A backup of a list, as it is printed.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct Entry(ListedBackup);

impl From<ListedBackup> for Entry {
    fn from(listed: ListedBackup) -> Self {
        Self(listed)
    }
}

impl Deref for Entry {
    type Target = ListedBackup;

    fn deref(&self) -> &ListedBackup {
        &self.0
    }
}

impl DerefMut for Entry {
    fn deref_mut(&mut self) -> &mut ListedBackup {
        &mut self.0
    }
}

/// Returns the state that the condition of a copy is printed as.
fn state(condition: Condition) -> State {
    match condition {
        Condition::Good => State::Good,
        Condition::Doubtful => State::Warning,
        Condition::Damaged => State::Damaged,
    }
}

impl Entry {
    /// Returns the age of the backup: `2 h ago`.
    pub(super) fn age(&self) -> String {
        age_ago(TimeDelta::seconds(self.age_seconds))
    }

    /// Returns the cluster, the subject and the time.
    pub(super) fn short_name(&self) -> ShortName {
        let series = self.series();
        ShortName { series: series_name(&series.cluster, &series.subject.segment()), time: Some(self.time()) }
    }

    /// Returns the names of the destinations that have the backup.
    pub(super) fn at(&self) -> impl Iterator<Item = &str> {
        self.copies.iter().map(|copy| &*copy.destination)
    }

    /// Returns true if a copy is damaged.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// Returns true if a copy has any state but `whole`.
    pub(super) fn needs_attention(&self) -> bool {
        self.copies.iter().any(|copy| copy.condition != Condition::Good)
    }

    pub(super) fn is(&self, state: args::State) -> bool {
        match state {
            args::State::Good => !self.is_damaged(),
            args::State::Damaged => self.is_damaged(),
            args::State::Held => self.held.is_some(),
            args::State::Verified => !self.verified_at.is_empty(),
            args::State::Drilled => !self.drilled_at.is_empty(),
            args::State::Adopted => matches!(self.description, Description::Adopted(_)),
        }
    }

    /// Returns the destinations that have the backup, each with its state unless complete.
    pub(super) fn destination_states(&self) -> Cell {
        Cell::list(self.copies.iter().map(|copy| match state(copy.condition) {
            State::Good => (&*copy.destination).into(),
            state => Cell::from(format!("{} (", copy.destination)).and(Cell::coloured(state, &copy.text)).and(")"),
        }))
    }

    /// Returns `full`, `incremental` or `crash-consistent` for a base backup, `difference` for such
    /// a dump, and nothing for other dumps.
    fn backup_type(&self) -> &'static str {
        match &self.description {
            Description::Backup(manifest) if manifest.is_incremental() => INCREMENTAL,
            Description::Backup(manifest) if manifest.is_difference() => DIFFERENCE,
            Description::Backup(manifest) if manifest.begins_recovery() => "full",
            Description::Backup(manifest) if manifest.base.is_some() => CRASH_CONSISTENT,
            _ => "",
        }
    }

    fn dump_verification(&self) -> Cell {
        match &self.description {
            Description::Backup(manifest) if manifest.verified.is_empty() => "no".into(),
            Description::Backup(manifest) => {
                Cell::list(manifest.verified.iter().map(|verified| verified.method.as_str().into()))
            }
            Description::Adopted(_) => Cell::from("adopted, ").and(State::NotVerified),
        }
    }

    /// Returns the later checks: verified, drilled.
    fn later_checks(&self) -> Cell {
        let checks = [(!self.verified_at.is_empty(), State::Verified), (!self.drilled_at.is_empty(), State::Drilled)];
        Cell::list(checks.into_iter().filter(|(is, _)| *is).map(|(_, state)| state.into()))
    }

    /// Returns the signers of the copies, if this host verifies signatures.
    fn signature(&self) -> Cell {
        let verdicts: BTreeSet<&str> = self.signatures.values().map(String::as_str).collect();
        Cell::list(verdicts.into_iter().map(Cell::from))
    }

    fn hold(&self, zone: TimeZone) -> Cell {
        match &self.held {
            None => Cell::default(),
            Some(Held { why, until: None, .. }) => why.as_str().into(),
            Some(Held { why, until: Some(until), .. }) => format!("until {}: {why}", zone.minute(*until)).into(),
        }
    }
}

/// Prints one line per backup. Adds a column of jobs if several jobs made the backups, and a column
/// of holds if any is in force.
pub(super) fn table(output: Output, entries: &[Entry], zone: TimeZone) {
    let names: Vec<ShortName> = entries.iter().map(Entry::short_name).collect();
    let times = Times::of(zone, &names);
    let columns = [
        backup_column(),
        Column::text("JOB").priority(Priority::High).unless_uniform(),
        times.column(),
        Column::number("AGE").priority(Priority::High),
        Column::fixed("TYPE").priority(Priority::Medium).unless_blank(),
        Column::number("SIZE").priority(Priority::Medium),
        Column::number("SAVED").priority(Priority::Medium).unless_blank(),
        Column::text("DUMP VERIFIED").min(15).priority(Priority::Low),
        Column::fixed("CHECKS").priority(Priority::Medium).unless_blank(),
        Column::text("SIGNATURE").priority(Priority::Low).unless_blank(),
        Column::sentence("HELD").priority(Priority::High).unless_blank(),
        Column::sentence("DESTINATIONS").min(20),
        name_column(),
    ];
    let has_types =
        entries.iter().any(|entry| [INCREMENTAL, DIFFERENCE, CRASH_CONSISTENT].contains(&entry.backup_type()));
    let rows = entries.iter().zip(&names).map(|(entry, name)| {
        vec![
            name.series.as_str().into(),
            entry.job().into(),
            times.cell(name),
            entry.age().into(),
            if has_types { entry.backup_type() } else { "" }.into(),
            HumanBytes(entry.bytes()).to_string().into(),
            entry.saved_bytes.map(|bytes| HumanBytes(bytes).to_string()).unwrap_or_default().into(),
            entry.dump_verification(),
            entry.later_checks(),
            entry.signature(),
            entry.hold(zone),
            entry.destination_states(),
            entry.name.as_str().into(),
        ]
    });
    output.table(&Table::new(columns).rows(rows));
}
