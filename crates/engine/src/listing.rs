//! The backups of all destinations as a list: each backup once, with the state of its copies.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use longshore_catalog::adopt::Adopted;
use longshore_catalog::catalog::{Backup, Series};
use longshore_config::Config;
use longshore_core::key::{BackupName, Key};
use longshore_core::manifest::Manifest;
use longshore_core::mark::Marks;
use longshore_core::signature::Verdict;
use longshore_core::subject::Subject;
use serde::{Serialize, Serializer};

use crate::catalogs::Catalogued;
use crate::encryption_policy::EncryptionPolicy;

/// The state of a complete copy.
const INTACT: &str = "whole";

/// The state of an unencrypted backup where an encrypted one is expected.
const UNENCRYPTED: &str = "unsealed";

/// A backup, with its copies in all destinations.
#[derive(Debug, Serialize)]
pub struct ListedBackup {
    /// The name.
    pub name: BackupName,
    /// The seconds since the backup's run.
    pub age_seconds: i64,
    /// The state of each copy by destination: `whole`, or a problem.
    #[serde(rename = "destinations", serialize_with = "as_map")]
    pub copies: Vec<CopyState>,
    /// True if a copy is damaged.
    #[serde(skip)]
    pub damaged: bool,
    /// The hold in force at any destination.
    pub held: Option<Held>,
    /// The destinations at which the backup was verified.
    pub verified_at: Vec<String>,
    /// The destinations from which a drill restored the backup.
    pub drilled_at: Vec<String>,
    /// The number of bytes that a difference takes less than its full backup, as stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saved_bytes: Option<u64>,
    /// The result for the signature at each destination, if this host verifies signatures.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub signatures: BTreeMap<String, String>,
    /// The description.
    #[serde(flatten)]
    pub description: Description,
}

/// A hold in force.
#[derive(Debug, Serialize)]
pub struct Held {
    /// The reason.
    pub why: String,
    /// The end of the hold, if it has one.
    pub until: Option<DateTime<Utc>>,
    /// The destinations of the hold.
    pub destinations: Vec<String>,
}

/// The state of a copy at a destination.
///
/// A service keeps tens of thousands of them, nearly all with the same text.
#[derive(Debug)]
pub struct CopyState {
    /// The name of the destination, shared by all its copies.
    pub destination: Arc<str>,
    /// The condition of the copy.
    pub condition: Condition,
    /// The condition in words: `whole`, or a problem.
    pub text: Cow<'static, str>,
}

/// The condition of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// No problem is known.
    Good,
    /// An operator should examine the copy.
    Doubtful,
    /// The copy is damaged.
    Damaged,
}

impl CopyState {
    fn of(destination: &Arc<str>, condition: Condition, text: impl Into<Cow<'static, str>>) -> Self {
        Self { destination: Arc::clone(destination), condition, text: text.into() }
    }
}

/// Serializes the states of the copies as a map by destination.
fn as_map<S: Serializer>(copies: &[CopyState], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(copies.iter().map(|copy| (&*copy.destination, &copy.text)))
}

/// The description of a backup.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Description {
    /// The manifest of a backup.
    Backup(#[serde(serialize_with = "serialize_shared")] Arc<Manifest>),
    /// An adopted file of another program, described by its name.
    Adopted(Box<AdoptedFile>),
}

fn serialize_shared<S: Serializer>(manifest: &Arc<Manifest>, serializer: S) -> Result<S::Ok, S::Error> {
    manifest.as_ref().serialize(serializer)
}

/// An adopted file of another program.
#[derive(Debug, Serialize)]
pub struct AdoptedFile {
    /// Always true.
    pub adopted: bool,
    /// The name of the adopt.
    pub job: String,
    /// The cluster.
    pub cluster: ClusterName,
    /// The subject.
    pub subject: Subject,
    /// The time in the name.
    pub time: DateTime<Utc>,
    /// The key of the file.
    pub key: Key,
    /// The size in bytes.
    pub bytes: u64,
    /// Empty: no verifier reads adopted files.
    pub verified: [(); 0],
}

/// A cluster of which only the name is known.
#[derive(Debug, Serialize)]
pub struct ClusterName {
    /// The name.
    pub name: String,
}

impl ListedBackup {
    /// Creates the entry of a backup, without copies.
    pub fn of(backup: &Backup) -> Self {
        Self::new(&backup.name, backup.manifest.time.time(), Description::Backup(Arc::clone(&backup.manifest)))
    }

    /// Creates the entry of an adopted file.
    pub fn of_adopted(file: &Adopted) -> Self {
        let Series { cluster, subject, job } = file.series.clone();
        let description = Description::Adopted(Box::new(AdoptedFile {
            adopted: true,
            job,
            cluster: ClusterName { name: cluster },
            subject,
            time: file.time,
            key: file.key.clone(),
            bytes: file.bytes,
            verified: [],
        }));
        Self::new(&file.name, file.time, description)
    }

    fn new(name: &BackupName, time: DateTime<Utc>, description: Description) -> Self {
        Self {
            name: name.clone(),
            age_seconds: (Utc::now() - time).num_seconds(),
            // Most configurations have up to two destinations.
            copies: Vec::with_capacity(2),
            damaged: false,
            held: None,
            verified_at: Vec::new(),
            drilled_at: Vec::new(),
            saved_bytes: None,
            signatures: BTreeMap::new(),
            description,
        }
    }

    /// Adds the copy at a destination with its marks.
    pub fn add_copy(&mut self, destination: &Arc<str>, backup: &Backup, policy: &EncryptionPolicy<'_>) {
        let damage = backup.damage().map(|damage| format!("damaged: {damage}"));
        self.damaged |= damage.is_some();
        let unsealed = policy.violation(&backup.manifest).map(|_| UNENCRYPTED);
        self.copies.push(match (damage, unsealed.or(backup.advice())) {
            (Some(damage), _) => CopyState::of(destination, Condition::Damaged, damage),
            (None, Some(advice)) => CopyState::of(destination, Condition::Doubtful, advice),
            (None, None) => CopyState::of(destination, Condition::Good, INTACT),
        });
        if backup.signature != Verdict::Unverified {
            self.signatures.insert(destination.to_string(), backup.signature.to_string());
        }
        if backup.marks.verified() {
            self.verified_at.push(destination.to_string());
        }
        if backup.marks.drilled() {
            self.drilled_at.push(destination.to_string());
        }
        self.add_hold(destination, &backup.marks);
    }

    /// Adds the hold at a destination, if it is in force.
    fn add_hold(&mut self, destination: &str, marks: &Marks) {
        let in_force = marks.held.as_ref().filter(|hold| hold.until.is_none_or(|until| until > Utc::now()));
        if let Some(hold) = in_force {
            let (why, until) = (hold.why.clone(), hold.until);
            let held = self.held.get_or_insert_with(|| Held { why, until, destinations: Vec::new() });
            held.destinations.push(destination.to_string());
        }
    }

    /// Adds the copy of an adopted file at a destination.
    pub fn add_adopted_copy(&mut self, destination: &Arc<str>, file: &Adopted) {
        self.damaged |= !file.is_good();
        self.copies.push(match file.is_good() {
            true => CopyState::of(destination, Condition::Good, INTACT),
            false => CopyState::of(destination, Condition::Damaged, "damaged: empty"),
        });
        self.add_hold(destination, &file.marks);
    }

    /// Returns the series of the backup.
    pub fn series(&self) -> Series {
        let (cluster, subject) = match &self.description {
            Description::Backup(manifest) => (&manifest.cluster.name, &manifest.subject),
            Description::Adopted(file) => (&file.cluster.name, &file.subject),
        };
        Series { cluster: cluster.clone(), subject: subject.clone(), job: self.job().to_owned() }
    }

    /// Returns the job that made the backup, or the name of the adopt.
    pub fn job(&self) -> &str {
        match &self.description {
            Description::Backup(manifest) => &manifest.job,
            Description::Adopted(file) => &file.job,
        }
    }

    /// Returns the time of the backup's run.
    pub fn time(&self) -> DateTime<Utc> {
        match &self.description {
            Description::Backup(manifest) => manifest.time.time(),
            Description::Adopted(file) => file.time,
        }
    }

    /// Returns the size of the artifact in bytes.
    pub fn bytes(&self) -> u64 {
        match &self.description {
            Description::Backup(manifest) => manifest.artifact.sealed.bytes,
            Description::Adopted(file) => file.bytes,
        }
    }

    /// Records the number of bytes that a difference saves. `full_bytes` has the size of each full
    /// backup at a destination, as stored.
    pub fn compare_with_full(&mut self, full_bytes: &HashMap<&BackupName, u64>) {
        let Description::Backup(manifest) = &self.description else { return };
        let full = manifest.artifact.difference.as_ref().and_then(|difference| full_bytes.get(&difference.full));
        if let Some(full) = full {
            self.saved_bytes = Some(full.saturating_sub(self.bytes()));
        }
    }

    /// Returns true if the copy at a destination has no known damage.
    pub fn is_good_at(&self, destination: &str) -> bool {
        self.copies.iter().any(|copy| &*copy.destination == destination && copy.condition != Condition::Damaged)
    }
}

/// Returns the backups in these catalogs, ordered by name.
pub(crate) fn listing(config: &Config, catalogs: &[Catalogued]) -> Vec<ListedBackup> {
    let policy = EncryptionPolicy::of_config(config);
    let number = catalogs.iter().map(|at| at.catalog.backups().count()).max().unwrap_or_default();
    let mut all: Vec<ListedBackup> = Vec::with_capacity(number);
    let mut places: HashMap<&BackupName, usize> = HashMap::with_capacity(number);
    for at in catalogs {
        let destination = Arc::from(at.name.as_str());
        for backup in at.catalog.backups() {
            let place = *places.entry(&backup.name).or_insert(all.len());
            if place == all.len() {
                all.push(ListedBackup::of(backup));
            }
            all[place].add_copy(&destination, backup, &policy);
        }
        for file in at.catalog.adopted.values().flatten() {
            let place = *places.entry(&file.name).or_insert(all.len());
            if place == all.len() {
                all.push(ListedBackup::of_adopted(file));
            }
            all[place].add_adopted_copy(&destination, file);
        }
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}
