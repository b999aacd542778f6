//! One backup of a list, with its copies in all destinations.

use chrono::{DateTime, TimeDelta, Utc};
use indicatif::HumanBytes;
use longshore_catalog::adopt::Adopted;
use longshore_catalog::catalog::{Backup, Series};
use longshore_core::Result;
use longshore_core::error::printable;
use longshore_core::key::{BackupName, Key};
use longshore_core::manifest::Manifest;
use longshore_core::quantity::age;
use longshore_core::subject::Subject;
use longshore_service::encryption_policy::EncryptionPolicy;
use serde::{Serialize, Serializer};

use crate::args::State;
use crate::output::Output;
use crate::time_zone::TimeZone;

/// The state of a complete copy.
const INTACT: &str = "whole";

/// The state of an unencrypted backup where an encrypted one is expected.
const UNENCRYPTED: &str = "unsealed";

/// A backup, with its copies in all destinations.
#[derive(Serialize)]
pub(super) struct Entry {
    pub(super) name: BackupName,
    age_seconds: i64,
    /// The state of each copy by destination: `whole`, or a problem.
    #[serde(serialize_with = "as_map")]
    destinations: Vec<(String, String)>,
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

/// Serializes the states of the copies as a map by destination.
fn as_map<S: Serializer>(destinations: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(destinations.iter().map(|(name, state)| (name, state)))
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
        let state = damage.unwrap_or_else(|| unsealed.or(backup.advice()).unwrap_or(INTACT).to_owned());
        self.destinations.push((destination.to_owned(), state));
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
        let state = if file.is_good() { INTACT } else { "damaged: empty" };
        self.damaged |= !file.is_good();
        self.destinations.push((destination.to_owned(), state.to_owned()));
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

    /// Returns the age of the backup.
    pub(super) fn age(&self) -> String {
        age(TimeDelta::seconds(self.age_seconds))
    }

    /// Returns the names of the destinations that have the backup.
    pub(super) fn at(&self) -> impl Iterator<Item = &str> {
        self.destinations.iter().map(|(name, _)| name.as_str())
    }

    /// Returns true if a copy is damaged.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// Returns true if a copy has any state but `whole`.
    pub(super) fn needs_attention(&self) -> bool {
        self.destinations.iter().any(|(_, state)| state != INTACT)
    }

    pub(super) fn is(&self, state: State) -> bool {
        match state {
            State::Good => !self.is_damaged(),
            State::Damaged => self.is_damaged(),
            State::Held => self.held.is_some(),
            State::Verified => !self.verified_at.is_empty(),
            State::Drilled => !self.drilled_at.is_empty(),
            State::Adopted => matches!(self.description, Description::Adopted { .. }),
        }
    }

    /// Returns the destinations that have the backup, each with its state unless complete.
    pub(super) fn destination_states(&self) -> String {
        let destination_states = self.destinations.iter().map(|(name, state)| match state.as_str() {
            INTACT => name.clone(),
            state => format!("{name} ({state})"),
        });
        destination_states.collect::<Vec<_>>().join(", ")
    }

    fn dump_verification(&self) -> String {
        match &self.description {
            Description::Backup(manifest) if manifest.verified.is_empty() => "no".to_owned(),
            Description::Backup(manifest) => {
                let methods = manifest.verified.iter().map(|verified| verified.method.clone());
                methods.collect::<Vec<_>>().join(", ")
            }
            Description::Adopted { .. } => "adopted, not verified".to_owned(),
        }
    }

    /// Returns the later checks: verified, drilled.
    fn later_checks(&self) -> String {
        let words = [(!self.verified_at.is_empty(), "verified"), (!self.drilled_at.is_empty(), "drilled")];
        let words: Vec<_> = words.into_iter().filter(|(is, _)| *is).map(|(_, word)| word).collect();
        words.join(", ")
    }
}

/// Prints one line per backup. Adds a column of jobs if several jobs made the backups, and a column
/// of holds if any is in force.
pub(super) fn table(output: Output, entries: &[Entry], zone: TimeZone) {
    let time = format!("?TIME ({})", zone.name());
    let of_jobs = entries.iter().any(|entry| entry.job() != entries[0].job());
    let (held, later_checks) = (
        entries.iter().any(|entry| entry.held.is_some()),
        entries.iter().any(|entry| !entry.later_checks().is_empty()),
    );
    let mut headings = vec!["BACKUP", &time, "?>AGE", ">SIZE", "?DUMP VERIFIED"];
    if of_jobs {
        headings.insert(1, "JOB");
    }
    if later_checks {
        headings.push("?CHECKS");
    }
    if held {
        headings.push("HELD");
    }
    headings.push("DESTINATIONS");
    let row = |entry: &Entry| {
        let mut cells = vec![
            entry.name.to_string(),
            zone.second(entry.time()),
            entry.age(),
            HumanBytes(entry.bytes()).to_string(),
            entry.dump_verification(),
        ];
        if of_jobs {
            cells.insert(1, printable(entry.job()));
        }
        if later_checks {
            cells.push(entry.later_checks());
        }
        if held {
            cells.push(entry.held.as_ref().map_or_else(String::new, |held| match held.until {
                None => held.why.clone(),
                Some(until) => format!("until {}: {}", zone.minute(until), held.why),
            }));
        }
        cells.push(entry.destination_states());
        cells
    };
    output.table(&headings, &entries.iter().map(row).collect::<Vec<_>>());
}
