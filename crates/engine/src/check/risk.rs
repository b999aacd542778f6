//! Risks that do not fail tonight's run but prevent a restore: a single destination, a destination
//! on the disk of the database, an identity on this host, no drill.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use futures_util::TryStreamExt;
use longshore_config::{Config, Job};
use longshore_core::check::Finding;
use longshore_core::mark::{MarkKind, MarkName};
use longshore_core::stage::Store;
use longshore_core::{Kind, Result};

use crate::identity;

/// Returns warnings about losses that the jobs' backups would not survive.
pub(super) async fn check_risks(config: &Config, jobs: &[&Job]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for job in jobs {
        findings.extend(check_destination_count(job));
        findings.extend(check_file_systems(config, job).await);
        findings.extend(check_drills(config, job).await);
    }
    findings.extend(check_identities(config, jobs));
    findings
}

/// Warns if a job ships to a single destination.
fn check_destination_count(job: &Job) -> Option<Finding> {
    let [only] = job.ship.as_slice() else { return None };
    Some(Finding::warning(
        format!("job {}", job.name),
        format!("ships to \"{only}\" alone: if it is lost, all backups are lost"),
        "add a destination on another host, and name it in ship",
    ))
}

/// Warns of destinations on the file system of the databases.
async fn check_file_systems(config: &Config, job: &Job) -> Vec<Finding> {
    let mut directories: BTreeSet<PathBuf> = BTreeSet::new();
    for dump in &job.dump {
        // Another finding reports a dump that cannot be built, or a server that does not answer.
        let Ok(dump) = dump(&job.site) else { continue };
        directories.extend(dump.data_directory().await);
    }
    let mut findings = Vec::new();
    for name in &job.ship {
        let Some(Ok(store)) = config.destinations.get(name).map(|destination| destination.open()) else { continue };
        let Some(folder) = store.capabilities().folder else { continue };
        if directories.iter().any(|directory| is_same_file_system(folder, directory)) {
            let message = "is on the file system of the data directory: one failure destroys both";
            let remedy = "mount another disk there, or also ship to another host";
            findings.push(Finding::warning(format!("destination {name}"), message, remedy));
        }
    }
    findings
}

fn is_same_file_system(one: &Path, other: &Path) -> bool {
    // A folder that does not exist yet will be on the file system of its nearest existing parent.
    let device = |path: &Path| path.ancestors().find_map(|path| path.metadata().ok()).map(|found| found.dev());
    other.exists() && device(one).is_some_and(|found| Some(found) == device(other))
}

/// Warns if no destination has a mark of a drill of the cluster. If no destination may be listed,
/// the drills are another host's task.
async fn check_drills(config: &Config, job: &Job) -> Option<Finding> {
    let remedy = match foreign_drills(job).await {
        None => format!("`longshore drill {}` restores the newest run into a scratch cluster", job.name),
        Some(true) => format!("`longshore drill {}` passes the newest run to its drill programs", job.name),
        // Another finding reports that no program drills the backups.
        Some(false) => return None,
    };
    let mut listed = false;
    for name in &job.ship {
        let Some(Ok(store)) = config.destinations.get(name).map(|destination| destination.open()) else { continue };
        match has_drill(&*store, &job.site.cluster.name).await {
            Ok(true) => return None,
            Ok(false) => listed = true,
            Err(error) if error.kind() == Kind::Denied => {}
            // Another finding reports a destination that cannot be listed.
            Err(_) => return None,
        }
    }
    listed.then(|| {
        Finding::warning(
            format!("job {}", job.name),
            "was never drilled: no drill has proved that its backups can be restored",
            remedy,
        )
    })
}

/// Returns true if programs drill the dumps of the job, or `None` if some of its dumps are of
/// PostgreSQL or unknown.
async fn foreign_drills(job: &Job) -> Option<bool> {
    let mut has_drill = false;
    for dump in &job.dump {
        // Other findings report a dump that cannot be built or discovered.
        let dump = dump(&job.site).ok()?;
        let format = dump.foreign_format()?;
        let discovery = dump.discover().await.ok()?;
        let programs = discovery.subjects.iter().filter_map(|found| dump.restore_programs(&found.subject, &format));
        has_drill |= programs.into_iter().any(|programs| programs.drill.is_some());
    }
    (!job.dump.is_empty()).then_some(has_drill)
}

async fn has_drill(store: &dyn Store, cluster: &str) -> Result<bool> {
    let mut entries = store.list(None).await?;
    let folder = format!("{cluster}/");
    while let Some(entry) = entries.try_next().await? {
        let drilled = MarkName::from_key(&entry.key).is_some_and(|mark| mark.kind == MarkKind::Drilled);
        if drilled && entry.key.as_str().starts_with(&folder) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Warns of identities on the host that makes the backups.
fn check_identities(config: &Config, jobs: &[&Job]) -> Vec<Finding> {
    let encrypts = jobs.iter().any(|job| job.encrypt.is_some());
    let named = jobs
        .iter()
        .filter_map(|job| job.drill.identity.as_deref())
        .chain(config.identity.file.iter().map(PathBuf::as_path));
    let files: BTreeSet<PathBuf> = named.map(Path::to_owned).chain(identity::default_file(config)).collect();
    let warn = |file: &PathBuf| {
        let message =
            format!("{} is on this host: anyone who takes over the host can decrypt every backup", file.display());
        let remedy =
            "keep it where it survives the loss of this host, and delete it here: making backups needs only recipients";
        Finding::warning("identity", message, remedy)
    };
    let mut findings: Vec<_> = files.iter().filter(|file| encrypts && file.is_file()).map(warn).collect();
    if config.decrypt.is_empty() {
        return findings;
    }
    // Another finding reports an encryption that cannot be built.
    let encryptions = jobs.iter().filter_map(|job| Some(job.encrypt.as_ref()?(&()).ok()?.name().to_owned()));
    for name in encryptions.collect::<BTreeSet<_>>().iter().filter(|name| config.decrypt.contains_key(*name)) {
        let message =
            format!("[decrypt.{name}] is on this host: anyone who takes over the host may decrypt every backup");
        let remedy = "configure it on the host that restores: making backups needs no program that decrypts";
        findings.push(Finding::warning("decrypt", message, remedy));
    }
    findings
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use longshore_core::key::{BackupName, Timestamp};
    use longshore_core::mark::Mark;
    use longshore_testkit::memory::{Fault, MemoryStore, Operation};

    use super::*;
    use crate::fixture::{config, put_run};

    #[tokio::test]
    async fn warns_of_single_destination_and_missing_drill() {
        let (store, folder) = (MemoryStore::new(), tempfile::tempdir().unwrap());
        let config = config(folder.path(), &store, None);
        let jobs: Vec<&Job> = config.jobs.values().collect();
        put_run(&store, "2026-05-01_030000", &["app"]);
        let messages = async || {
            let found = check_risks(&config, &jobs).await;
            found.into_iter().map(|finding| finding.message).collect::<Vec<_>>().join("\n")
        };
        let found = messages().await;
        assert!(found.contains("ships to \"memory\" alone") && found.contains("never drilled"), "{found}");
        let app = BackupName::new("main", "app", Timestamp::parse("2026-05-01_030000").unwrap()).unwrap();
        longshore_catalog::mark::put(&Mark::default(), &store, &app, MarkKind::Drilled, Utc::now()).await.unwrap();
        assert!(!messages().await.contains("never drilled"));
        store.fault(Operation::List, Fault::Deny);
        assert!(!messages().await.contains("never drilled"), "a host that may only write cannot know");
    }

    #[test]
    fn warns_of_identity_on_this_host() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path(), &MemoryStore::new(), None);
        let found = |config: &Config| {
            let mut jobs: Vec<Job> = vec![crate::fixture::job(None)];
            jobs[0].encrypt = Some(std::sync::Arc::new(|_| unreachable!()));
            check_identities(config, &jobs.iter().collect::<Vec<_>>()).len()
        };
        assert_eq!(found(&config), 0);
        std::fs::write(folder.path().join("identity.txt"), "").unwrap();
        assert_eq!(found(&config), 1);
        config.path = folder.path().join("elsewhere/config.toml");
        assert_eq!(found(&config), 0);
    }

    #[test]
    fn missing_folder_is_on_file_system_of_its_parent() {
        let folder = tempfile::tempdir().unwrap();
        assert!(is_same_file_system(&folder.path().join("not/yet"), folder.path()));
        assert!(!is_same_file_system(folder.path(), Path::new("/proc")));
        assert!(!is_same_file_system(folder.path(), &folder.path().join("no data directory")));
    }
}
