//! One backup of a listing, wherever it lies.

use chrono::{DateTime, TimeDelta, Utc};
use indicatif::HumanBytes;
use longshore_core::Result;
use longshore_core::adopt::Adopted;
use longshore_core::catalog::{Backup, Series};
use longshore_core::error::printable;
use longshore_core::key::{BackupName, Key};
use longshore_core::manifest::Manifest;
use longshore_core::quantity::age;
use longshore_core::subject::Subject;
use longshore_service::unsealed::Sealing;
use serde::{Serialize, Serializer};

use crate::args::State;
use crate::output::Output;
use crate::zone::Zone;

/// What a destination has that holds a backup whole.
const WHOLE: &str = "whole";

/// The state of a backup that is unsealed where a sealed one is expected.
const UNSEALED: &str = "unsealed";

/// A backup, wherever it lies.
#[derive(Serialize)]
pub(super) struct Line {
    pub(super) name: BackupName,
    age_seconds: i64,
    /// What each destination that has it holds: `whole`, or what is wrong.
    #[serde(serialize_with = "as_map")]
    destinations: Vec<(String, String)>,
    /// True if any destination has it damaged.
    #[serde(skip)]
    damaged: bool,
    /// The hold that exempts it from retention, if one is in force at any destination.
    held: Option<Held>,
    /// The destinations from which it was read back whole.
    verified_at: Vec<String>,
    /// The destinations from which it was restored in a drill.
    drilled_at: Vec<String>,
    #[serde(flatten)]
    what: What,
}

/// A hold that is in force.
#[derive(Serialize)]
struct Held {
    why: String,
    until: Option<DateTime<Utc>>,
    destinations: Vec<String>,
}

/// The states of the copies, by the names of their destinations.
fn as_map<S: Serializer>(destinations: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(destinations.iter().map(|(name, state)| (name, state)))
}

/// What is known of it.
#[derive(Serialize)]
#[serde(untagged)]
enum What {
    /// What its manifest says.
    Backup(Box<Manifest>),
    /// What the name of another program's file says, which was adopted.
    Adopted {
        adopted: bool,
        job: String,
        cluster: ClusterName,
        subject: Subject,
        time: DateTime<Utc>,
        key: Key,
        bytes: u64,
        /// By nobody.
        verified: [(); 0],
    },
}

/// A cluster, of which no more than its name is known.
#[derive(Serialize)]
struct ClusterName {
    name: String,
}

impl Line {
    /// The line of a backup, before any destination is known to have it.
    pub(super) fn of(backup: &Backup) -> Self {
        Self::new(&backup.name, backup.manifest.time.time(), What::Backup(backup.manifest.clone()))
    }

    /// The line of an adopted file.
    pub(super) fn of_adopted(file: &Adopted) -> Self {
        let Series { cluster, subject, job } = file.series.clone();
        let what = What::Adopted {
            adopted: true,
            job,
            cluster: ClusterName { name: cluster },
            subject,
            time: file.time,
            key: file.key.clone(),
            bytes: file.bytes,
            verified: [],
        };
        Self::new(&file.name, file.time, what)
    }

    fn new(name: &BackupName, time: DateTime<Utc>, what: What) -> Self {
        Self {
            name: name.clone(),
            age_seconds: (Utc::now() - time).num_seconds(),
            destinations: Vec::with_capacity(1),
            damaged: false,
            held: None,
            verified_at: Vec::new(),
            drilled_at: Vec::new(),
            what,
        }
    }

    /// Adds what a destination holds of it, and what its marks there say.
    pub(super) fn seen(&mut self, destination: &str, backup: &Backup, sealing: &Sealing<'_>) {
        let damage = backup.damage().map(|damage| format!("damaged: {damage}"));
        self.damaged |= damage.is_some();
        let unsealed = sealing.breach(&backup.manifest).map(|_| UNSEALED);
        let state = damage.unwrap_or_else(|| unsealed.or(backup.advice()).unwrap_or(WHOLE).to_owned());
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

    /// Adds what a destination holds of an adopted file.
    pub(super) fn seen_adopted(&mut self, destination: &str, file: &Adopted) {
        let state = if file.is_good() { WHOLE } else { "damaged: empty" };
        self.damaged |= !file.is_good();
        self.destinations.push((destination.to_owned(), state.to_owned()));
    }

    pub(super) fn series(&self) -> Series {
        let (cluster, subject) = match &self.what {
            What::Backup(manifest) => (&manifest.cluster.name, &manifest.subject),
            What::Adopted { cluster, subject, .. } => (&cluster.name, subject),
        };
        Series { cluster: cluster.clone(), subject: subject.clone(), job: self.job().to_owned() }
    }

    pub(super) fn job(&self) -> &str {
        match &self.what {
            What::Backup(manifest) => &manifest.job,
            What::Adopted { job, .. } => job,
        }
    }

    pub(super) fn time(&self) -> DateTime<Utc> {
        match &self.what {
            What::Backup(manifest) => manifest.time.time(),
            What::Adopted { time, .. } => *time,
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        match &self.what {
            What::Backup(manifest) => manifest.artifact.sealed.bytes,
            What::Adopted { bytes, .. } => *bytes,
        }
    }

    /// How long ago its run was.
    pub(super) fn age(&self) -> String {
        age(TimeDelta::seconds(self.age_seconds))
    }

    /// The names of the destinations that have it.
    pub(super) fn at(&self) -> impl Iterator<Item = &str> {
        self.destinations.iter().map(|(name, _)| name.as_str())
    }

    /// True if any destination has it damaged.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// True if any destination has it damaged, or unproven by a drill that failed.
    pub(super) fn needs_attention(&self) -> bool {
        self.destinations.iter().any(|(_, state)| state != WHOLE)
    }

    pub(super) fn is(&self, state: State) -> bool {
        match state {
            State::Good => !self.is_damaged(),
            State::Damaged => self.is_damaged(),
            State::Held => self.held.is_some(),
            State::Verified => !self.verified_at.is_empty(),
            State::Drilled => !self.drilled_at.is_empty(),
            State::Adopted => matches!(self.what, What::Adopted { .. }),
        }
    }

    /// The destinations that have it, each with its state unless it is whole.
    pub(super) fn places(&self) -> String {
        let places = self.destinations.iter().map(|(name, state)| match state.as_str() {
            WHOLE => name.clone(),
            state => format!("{name} ({state})"),
        });
        places.collect::<Vec<_>>().join(", ")
    }

    fn judged(&self) -> String {
        match &self.what {
            What::Backup(manifest) if manifest.verified.is_empty() => "no".to_owned(),
            What::Backup(manifest) => {
                let methods = manifest.verified.iter().map(|verified| verified.method.clone());
                methods.collect::<Vec<_>>().join(", ")
            }
            What::Adopted { .. } => "adopted, unverified".to_owned(),
        }
    }

    /// What was done to it since: read back, restored in a drill.
    fn proved(&self) -> String {
        let words = [(!self.verified_at.is_empty(), "verified"), (!self.drilled_at.is_empty(), "drilled")];
        let words: Vec<_> = words.into_iter().filter(|(is, _)| *is).map(|(_, word)| word).collect();
        words.join(", ")
    }
}

/// Shows a line for each backup; whose they are, too, where several jobs made them, and what is held, where anything is.
pub(super) fn table(output: Output, lines: &[Line], zone: Zone) {
    let time = format!("?TIME ({})", zone.name());
    let of_jobs = lines.iter().any(|line| line.job() != lines[0].job());
    let (held, proved) =
        (lines.iter().any(|line| line.held.is_some()), lines.iter().any(|line| !line.proved().is_empty()));
    let mut headings = vec!["BACKUP", &time, "?>AGE", ">SIZE", "?JUDGED"];
    if of_jobs {
        headings.insert(1, "JOB");
    }
    if proved {
        headings.push("?PROVED");
    }
    if held {
        headings.push("HELD");
    }
    headings.push("DESTINATIONS");
    let row = |line: &Line| {
        let mut cells = vec![
            line.name.to_string(),
            zone.second(line.time()),
            line.age(),
            HumanBytes(line.bytes()).to_string(),
            line.judged(),
        ];
        if of_jobs {
            cells.insert(1, printable(line.job()));
        }
        if proved {
            cells.push(line.proved());
        }
        if held {
            cells.push(line.held.as_ref().map_or_else(String::new, |held| match held.until {
                None => held.why.clone(),
                Some(until) => format!("until {}: {}", zone.minute(until), held.why),
            }));
        }
        cells.push(line.places());
        cells
    };
    output.table(&headings, &lines.iter().map(row).collect::<Vec<_>>());
}
