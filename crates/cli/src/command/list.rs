//! `longshore list`: the backups that lie in the destinations.

use std::collections::BTreeMap;

use chrono::{TimeDelta, Utc};
use indicatif::HumanBytes;
use longshore_core::Result;
use longshore_core::catalog::{Backup, Presence};
use longshore_core::key::BackupName;
use longshore_core::manifest::Manifest;
use longshore_service::fleet::{means, quays};
use serde::Serialize;

use crate::args::List;
use crate::command::Bridge;
use crate::exit_code::Exit;

/// A backup, wherever it lies.
#[derive(Serialize)]
struct Line {
    name: BackupName,
    age_seconds: i64,
    /// What each destination that has it holds: `whole`, or what is wrong.
    destinations: BTreeMap<String, String>,
    #[serde(flatten)]
    manifest: Manifest,
}

pub(super) async fn list(bridge: &Bridge, args: &List) -> Result<Exit> {
    let Bridge { config, output, .. } = bridge;
    let mut lines: BTreeMap<BackupName, Line> = BTreeMap::new();
    let mut exit = Exit::Done;
    let mut read = 0;
    for (destination, quay) in quays(config, args.destination.as_deref()).await? {
        let catalog = match quay {
            Ok(quay) => quay.catalog,
            Err(error) => {
                output.error(&error);
                exit = Exit::Partial;
                continue;
            }
        };
        read += 1;
        for (_, error) in &catalog.unreadable {
            output.error(error);
            exit = Exit::Damaged;
        }
        let wanted = |backup: &&Backup| args.subject.as_deref().is_none_or(|words| means(words, backup));
        for backup in catalog.backups().filter(wanted) {
            if !backup.is_good() {
                exit = Exit::Damaged;
            }
            let line = lines.entry(backup.name.clone()).or_insert_with(|| line(backup));
            line.destinations.insert(destination.clone(), state(backup.artifact));
        }
    }
    let lines: Vec<Line> = lines.into_values().collect();
    if args.json.json {
        output.json(&lines);
    } else if lines.is_empty() && exit == Exit::Done {
        output.note("no backups");
    } else {
        let rows: Vec<_> = lines.iter().map(row).collect();
        output.table(&["BACKUP", "TIME (UTC)", ">AGE", ">SIZE", "VERIFIED", "DESTINATIONS"], &rows);
    }
    Ok(if read == 0 { Exit::Failed } else { exit })
}

fn line(backup: &Backup) -> Line {
    Line {
        name: backup.name.clone(),
        age_seconds: (Utc::now() - backup.manifest.time.time()).num_seconds(),
        destinations: BTreeMap::new(),
        manifest: backup.manifest.clone(),
    }
}

fn state(artifact: Presence) -> String {
    match artifact {
        Presence::Whole => "whole".to_owned(),
        Presence::OtherSize(bytes) => format!("damaged: {bytes} bytes"),
        Presence::Missing => "damaged: no artifact".to_owned(),
    }
}

fn row(line: &Line) -> Vec<String> {
    let verified = line.manifest.verified.iter().map(|verified| verified.method.clone()).collect::<Vec<_>>();
    let destinations = line.destinations.iter().map(|(name, state)| match state.as_str() {
        "whole" => name.clone(),
        state => format!("{name} ({state})"),
    });
    vec![
        line.name.to_string(),
        line.manifest.time.time().format("%Y-%m-%d %H:%M:%S").to_string(),
        age(TimeDelta::seconds(line.age_seconds)),
        HumanBytes(line.manifest.artifact.sealed.bytes).to_string(),
        if verified.is_empty() { "no".to_owned() } else { verified.join(", ") },
        destinations.collect::<Vec<_>>().join(", "),
    ]
}

/// How long ago, in the largest unit that says something.
fn age(age: TimeDelta) -> String {
    match (age.num_days(), age.num_hours(), age.num_minutes(), age.num_seconds()) {
        (_, _, _, ..0) => "in future".to_owned(),
        (2.., ..) => format!("{} d", age.num_days()),
        (_, 2.., ..) => format!("{} h", age.num_hours()),
        (_, _, 2.., _) => format!("{} min", age.num_minutes()),
        (_, _, _, seconds) => format!("{seconds} s"),
    }
}
