//! One backup of a list, with its copies in all destinations.

use chrono::{DateTime, TimeDelta, Utc};
use indicatif::HumanBytes;
use longshore_catalog::adopt::Adopted;
use longshore_catalog::catalog::{Backup, Series};
use longshore_core::Result;
use longshore_core::key::{BackupName, Key};
use longshore_core::manifest::Manifest;
use longshore_core::subject::Subject;
use longshore_engine::encryption_policy::EncryptionPolicy;
use serde::{Serialize, Serializer};

use crate::args;
use crate::command::short_name::{ShortName, Times, age_ago, backup_column, name_column, series_name};
use crate::output::{Cell, Column, Output, Priority, State, Table};
use crate::time_zone::TimeZone;

/// The state of a complete copy.
const INTACT: &str = "whole";

/// The type of an incremental base backup.
const INCREMENTAL: &str = "incremental";

/// The type of a base backup from a snapshot that the server took no part in.
const CRASH_CONSISTENT: &str = "crash-consistent";

/// The state of an unencrypted backup where an encrypted one is expected.
const UNENCRYPTED: &str = "unsealed";

/// A backup, with its copies in all destinations.
#[derive(Serialize)]
pub(super) struct Entry {
    pub(super) name: BackupName,
    age_seconds: i64,
    /// The state of each copy by destination: `whole`, or a problem.
    #[serde(serialize_with = "as_map")]
    destinations: Vec<CopyState>,
    /// True if a copy is damaged.
    #[serde(skip)]
    damaged: bool,
    /// The hold in force at any destination.
    held: Option<Held>,
    /// The destinations at which the backup was verified.
    verified_at: Vec<String>,
    /// The destinations from which a drill restored the backup.
    drilled_at: Vec<String>,
    #[serde(flatten)]
    description: Description,
}

/// A hold in force.
#[derive(Serialize)]
struct Held {
    why: String,
    until: Option<DateTime<Utc>>,
    destinations: Vec<String>,
}

/// The state of a copy at a destination.
struct CopyState {
    destination: String,
    state: State,
    /// The state in words: `whole`, or a problem.
    text: String,
}

impl CopyState {
    fn of(destination: &str, state: State, text: impl Into<String>) -> Self {
        Self { destination: destination.to_owned(), state, text: text.into() }
    }
}

/// Serializes the states of the copies as a map by destination.
fn as_map<S: Serializer>(destinations: &[CopyState], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(destinations.iter().map(|copy| (&copy.destination, &copy.text)))
}

/// The description of a backup.
#[derive(Serialize)]
#[serde(untagged)]
enum Description {
    /// The manifest of a backup.
    Backup(Box<Manifest>),
    /// An adopted file of another program, described by its name.
    Adopted {
        adopted: bool,
        job: String,
        cluster: ClusterName,
        subject: Subject,
        time: DateTime<Utc>,
        key: Key,
        bytes: u64,
        /// Empty: no verifier reads adopted files.
        verified: [(); 0],
    },
}

/// A cluster of which only the name is known.
#[derive(Serialize)]
struct ClusterName {
    name: String,
}

impl Entry {
    /// Creates the line of a backup, without copies.
    pub(super) fn of(backup: &Backup) -> Self {
        Self::new(&backup.name, backup.manifest.time.time(), Description::Backup(backup.manifest.clone()))
    }

    /// Creates the line of an adopted file.
    pub(super) fn of_adopted(file: &Adopted) -> Self {
        let Series { cluster, subject, job } = file.series.clone();
        let description = Description::Adopted {
            adopted: true,
            job,
            cluster: ClusterName { name: cluster },
            subject,
            time: file.time,
            key: file.key.clone(),
            bytes: file.bytes,
            verified: [],
        };
        Self::new(&file.name, file.time, description)
    }

    fn new(name: &BackupName, time: DateTime<Utc>, description: Description) -> Self {
        Self {
            name: name.clone(),
            age_seconds: (Utc::now() - time).num_seconds(),
            destinations: Vec::with_capacity(1),
            damaged: false,
            held: None,
            verified_at: Vec::new(),
            drilled_at: Vec::new(),
            description,
        }
    }

    /// Adds the copy at a destination with its marks.
    pub(super) fn add_copy(&mut self, destination: &str, backup: &Backup, policy: &EncryptionPolicy<'_>) {
        let damage = backup.damage().map(|damage| format!("damaged: {damage}"));
        self.damaged |= damage.is_some();
        let unsealed = policy.violation(&backup.manifest).map(|_| UNENCRYPTED);
        self.destinations.push(match (damage, unsealed.or(backup.advice())) {
            (Some(damage), _) => CopyState::of(destination, State::Damaged, damage),
            (None, Some(advice)) => CopyState::of(destination, State::Warning, advice),
            (None, None) => CopyState::of(destination, State::Good, INTACT),
        });
        if backup.marks.verified() {
            self.verified_at.push(destination.to_owned());
        }
        if backup.marks.drilled() {
            self.drilled_at.push(destination.to_owned());
        }
        let in_force = backup.marks.held.as_ref().filter(|hold| hold.until.is_none_or(|until| until > Utc::now()));
        if let Some(hold) = in_force {
            let (why, until) = (hold.why.clone(), hold.until);
            let held = self.held.get_or_insert_with(|| Held { why, until, destinations: Vec::new() });
            held.destinations.push(destination.to_owned());
        }
    }

    /// Adds the copy of an adopted file at a destination.
    pub(super) fn add_adopted_copy(&mut self, destination: &str, file: &Adopted) {
        self.damaged |= !file.is_good();
        self.destinations.push(match file.is_good() {
            true => CopyState::of(destination, State::Good, INTACT),
            false => CopyState::of(destination, State::Damaged, "damaged: empty"),
        });
    }

    pub(super) fn series(&self) -> Series {
        let (cluster, subject) = match &self.description {
            Description::Backup(manifest) => (&manifest.cluster.name, &manifest.subject),
            Description::Adopted { cluster, subject, .. } => (&cluster.name, subject),
        };
        Series { cluster: cluster.clone(), subject: subject.clone(), job: self.job().to_owned() }
    }

    pub(super) fn job(&self) -> &str {
        match &self.description {
            Description::Backup(manifest) => &manifest.job,
            Description::Adopted { job, .. } => job,
        }
    }

    pub(super) fn time(&self) -> DateTime<Utc> {
        match &self.description {
            Description::Backup(manifest) => manifest.time.time(),
            Description::Adopted { time, .. } => *time,
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        match &self.description {
            Description::Backup(manifest) => manifest.artifact.sealed.bytes,
            Description::Adopted { bytes, .. } => *bytes,
        }
    }

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
        self.destinations.iter().map(|copy| copy.destination.as_str())
    }

    /// Returns true if a copy is damaged.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// Returns true if a copy has any state but `whole`.
    pub(super) fn needs_attention(&self) -> bool {
        self.destinations.iter().any(|copy| copy.state != State::Good)
    }

    pub(super) fn is(&self, state: args::State) -> bool {
        match state {
            args::State::Good => !self.is_damaged(),
            args::State::Damaged => self.is_damaged(),
            args::State::Held => self.held.is_some(),
            args::State::Verified => !self.verified_at.is_empty(),
            args::State::Drilled => !self.drilled_at.is_empty(),
            args::State::Adopted => matches!(self.description, Description::Adopted { .. }),
        }
    }

    /// Returns the destinations that have the backup, each with its state unless complete.
    pub(super) fn destination_states(&self) -> Cell {
        Cell::list(self.destinations.iter().map(|copy| match copy.state {
            State::Good => copy.destination.as_str().into(),
            state => Cell::from(format!("{} (", copy.destination)).and(Cell::coloured(state, &copy.text)).and(")"),
        }))
    }

    /// Returns `full`, `incremental` or `crash-consistent` for a base backup, nothing for a dump.
    fn backup_type(&self) -> &'static str {
        match &self.description {
            Description::Backup(manifest) if manifest.is_incremental() => INCREMENTAL,
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
            Description::Adopted { .. } => Cell::from("adopted, ").and(State::NotVerified),
        }
    }

    /// Returns the later checks: verified, drilled.
    fn later_checks(&self) -> Cell {
        let checks = [(!self.verified_at.is_empty(), State::Verified), (!self.drilled_at.is_empty(), State::Drilled)];
        Cell::list(checks.into_iter().filter(|(is, _)| *is).map(|(_, state)| state.into()))
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
        Column::text("DUMP VERIFIED").min(15).priority(Priority::Low),
        Column::fixed("CHECKS").priority(Priority::Medium).unless_blank(),
        Column::sentence("HELD").priority(Priority::High).unless_blank(),
        Column::sentence("DESTINATIONS").min(20),
        name_column(),
    ];
    let has_types = entries.iter().any(|entry| [INCREMENTAL, CRASH_CONSISTENT].contains(&entry.backup_type()));
    let rows = entries.iter().zip(&names).map(|(entry, name)| {
        vec![
            name.series.as_str().into(),
            entry.job().into(),
            times.cell(name),
            entry.age().into(),
            if has_types { entry.backup_type() } else { "" }.into(),
            HumanBytes(entry.bytes()).to_string().into(),
            entry.dump_verification(),
            entry.later_checks(),
            entry.hold(zone),
            entry.destination_states(),
            entry.name.as_str().into(),
        ]
    });
    output.table(&Table::new(columns).rows(rows));
}
