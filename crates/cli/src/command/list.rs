//! `longshore list`: the backups that lie in the destinations.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use indicatif::HumanBytes;
use longshore_core::adopt::Adopted;
use longshore_core::catalog::{Backup, Series};
use longshore_core::error::printable;
use longshore_core::key::{BackupName, Key};
use longshore_core::manifest::Manifest;
use longshore_core::quantity::age;
use longshore_core::subject::Subject;
use longshore_core::{Kind, Result};
use longshore_service::catalogs::{catalogs, means, means_adopted};
use serde::{Serialize, Serializer};

use crate::args::List;
use crate::command::Context;
use crate::exit_code::Exit;
use crate::output::Output;

/// A backup, wherever it lies.
#[derive(Serialize)]
struct Line {
    name: BackupName,
    age_seconds: i64,
    /// What each destination that has it holds: `whole`, or what is wrong.
    #[serde(serialize_with = "as_map")]
    destinations: Vec<(String, String)>,
    #[serde(flatten)]
    what: What,
}

/// What each destination holds, by its name.
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

impl What {
    fn job(&self) -> &str {
        match self {
            Self::Backup(manifest) => &manifest.job,
            Self::Adopted { job, .. } => job,
        }
    }

    fn time(&self) -> DateTime<Utc> {
        match self {
            Self::Backup(manifest) => manifest.time.time(),
            Self::Adopted { time, .. } => *time,
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Backup(manifest) => manifest.artifact.sealed.bytes,
            Self::Adopted { bytes, .. } => *bytes,
        }
    }

    fn verified(&self) -> String {
        match self {
            Self::Backup(manifest) if manifest.verified.is_empty() => "no".to_owned(),
            Self::Backup(manifest) => {
                let methods = manifest.verified.iter().map(|verified| verified.method.clone());
                methods.collect::<Vec<_>>().join(", ")
            }
            Self::Adopted { .. } => "adopted, unverified".to_owned(),
        }
    }
}

pub(super) async fn list(context: &Context, args: &List) -> Result<Exit> {
    let Context { config, output, .. } = context;
    let mut lines: BTreeMap<BackupName, Line> = BTreeMap::new();
    let mut exit = Exit::Done;
    let mut orphans: BTreeMap<String, usize> = BTreeMap::new();
    let mut read = 0;
    for (destination, at) in catalogs(config, args.destination.as_deref()).await? {
        let catalog = match at {
            Ok(at) => at.catalog,
            Err(error) => {
                output.error(&error);
                exit = worse(exit, Exit::Partial);
                continue;
            }
        };
        read += 1;
        for (_, error) in &catalog.unreadable {
            output.error(error);
            // What a newer version wrote, or what we may not read, is whole for all we know.
            exit = worse(exit, if error.kind() == Kind::Corrupt { Exit::Damaged } else { Exit::Partial });
        }
        if !catalog.orphans.is_empty() {
            orphans.insert(destination.clone(), catalog.orphans.len());
        }
        let wanted = |backup: &Backup| args.subject.as_deref().is_none_or(|words| means(words, backup));
        for backup in catalog.series.into_values().flatten().filter(wanted) {
            if !backup.is_good() {
                exit = worse(exit, Exit::Damaged);
            }
            let state = state(&backup);
            let line = lines.entry(backup.name.clone()).or_insert_with(|| line(backup));
            line.destinations.push((destination.clone(), state));
        }
        let wanted = |file: &&Adopted| args.subject.as_deref().is_none_or(|words| means_adopted(words, file));
        for file in catalog.adopted.values().flatten().filter(wanted) {
            let line = lines.entry(file.name.clone()).or_insert_with(|| adopted_line(file));
            let state = if file.is_good() { "whole" } else { "damaged: empty" };
            exit = if file.is_good() { exit } else { worse(exit, Exit::Damaged) };
            line.destinations.push((destination.clone(), state.to_owned()));
        }
    }
    let lines: Vec<Line> = lines.into_values().collect();
    if args.json.json {
        output.json(&lines);
    } else {
        if lines.is_empty() && exit == Exit::Done {
            output.note("no backups");
        } else {
            table(*output, lines);
        }
        if !orphans.is_empty() {
            output.note(strangers(&orphans));
        }
    }
    Ok(if read == 0 { Exit::Failed } else { exit })
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

fn line(Backup { name, manifest, .. }: Backup) -> Line {
    Line {
        name,
        age_seconds: (Utc::now() - manifest.time.time()).num_seconds(),
        destinations: Vec::with_capacity(1),
        what: What::Backup(manifest),
    }
}

fn adopted_line(file: &Adopted) -> Line {
    let Series { cluster, subject, job } = file.series.clone();
    Line {
        name: file.name.clone(),
        age_seconds: (Utc::now() - file.time).num_seconds(),
        destinations: Vec::with_capacity(1),
        what: What::Adopted {
            adopted: true,
            job,
            cluster: ClusterName { name: cluster },
            subject,
            time: file.time,
            key: file.key.clone(),
            bytes: file.bytes,
            verified: [],
        },
    }
}

fn state(backup: &Backup) -> String {
    backup.damage().map_or_else(|| "whole".to_owned(), |damage| format!("damaged: {damage}"))
}

/// Shows the backups; whose they are, too, where several jobs made them.
fn table(output: Output, lines: Vec<Line>) {
    let mut headings = vec!["BACKUP", "TIME (UTC)", ">AGE", ">SIZE", "JUDGED", "DESTINATIONS"];
    let of_jobs = lines.iter().any(|line| line.what.job() != lines[0].what.job());
    if of_jobs {
        headings.insert(1, "JOB");
    }
    let row = |line: Line| {
        let mut cells = row(&line);
        if of_jobs {
            cells.insert(1, printable(line.what.job()));
        }
        cells
    };
    let rows: Vec<_> = lines.into_iter().map(row).collect();
    output.table(&headings, &rows);
}

fn row(line: &Line) -> Vec<String> {
    let destinations = line.destinations.iter().map(|(name, state)| match state.as_str() {
        "whole" => name.clone(),
        state => format!("{name} ({state})"),
    });
    vec![
        line.name.to_string(),
        line.what.time().format("%Y-%m-%d %H:%M:%S").to_string(),
        age(TimeDelta::seconds(line.age_seconds)),
        HumanBytes(line.what.bytes()).to_string(),
        line.what.verified(),
        destinations.collect::<Vec<_>>().join(", "),
    ]
}
