//! Tests of everything that the next run depends on: every stage checks its requirements, and every
//! destination stores, returns and deletes a probe.

mod differential;
mod readers;
mod risk;
mod schedule;
mod server;
mod trust;
mod wal;

use std::sync::Arc;

use chrono::Utc;
use futures_util::StreamExt;
use longshore_config::registry::Registry;
use longshore_config::{Config, Job};
use longshore_core::check::{Finding, Outcome};
use longshore_core::format::Format;
use longshore_core::key::{Key, Timestamp};
use longshore_core::meter::Digest;
use longshore_core::plugin::Identities;
use longshore_core::stage::{Encrypt, Store, Verify};
use longshore_core::stream::{collect, from_bytes};
use longshore_core::{Error, Kind, Result, Stage};

use crate::destination_state::state_dir;
use crate::hook;
use crate::notices::Notifier;
use crate::schedule::Host;
use crate::stages::verifiers;

/// The content of every probe.
const PROBE: &str = "a probe of `longshore check`: this file can be deleted\n";

/// The subject of findings about the databases of a job.
const DATABASES: &str = "databases";

/// Checks one job, or all jobs.
pub async fn check(
    config: &Config,
    registry: &Registry,
    job: Option<&str>,
    identities: &Identities,
) -> Result<Vec<Finding>> {
    let jobs: Vec<&Job> = match job {
        Some(name) => vec![config.job(Some(name))?],
        None => config.jobs.values().collect(),
    };
    let mut findings = vec![Finding::good("configuration", config.path.display().to_string())];
    if jobs.is_empty() {
        let message = "no job: this host can list and restore backups, but makes none";
        findings.push(Finding::warning("configuration", message, "to make backups, add a table [job.NAME]"));
    }
    findings.extend(check_state_dir(config));
    findings.extend(check_metrics_file(config));
    findings.extend(trust::check_trust(config).await);
    let mut run_size = RunSize { bytes: 0, is_complete: true };
    for job in &jobs {
        let (found, bytes) = server::check_server(config, job).await;
        findings.extend(of_several_jobs(found, job, jobs.len()));
        match bytes {
            Some(bytes) => run_size.bytes += bytes,
            None => run_size.is_complete = false,
        }
        findings.extend(check_stages(registry, job, identities).await);
        findings.extend(wal::check_needed(config, job));
        findings.extend(check_hooks(job));
    }
    for (name, destination) in &config.destinations {
        let shipping: Vec<&&Job> = jobs.iter().filter(|job| job.ship.contains(name)).collect();
        if !shipping.is_empty() {
            let subject = format!("destination {name}");
            let stores = shipping.iter().map(|job| destination.open_for_retention(job.retention.get(name)));
            match stores.reduce(Result::and).unwrap_or_else(|| destination.open()) {
                Ok(store) => findings.extend(check_destination(&subject, store, run_size).await),
                Err(error) => findings.push(Finding::failed(subject, &error)),
            }
        }
    }
    findings.extend(Notifier::of(config).check(config));
    findings.extend(wal::check_archives(config, registry, &jobs, identities).await);
    findings.extend(schedule::check_schedules(config, &jobs, &Host::this()));
    findings.extend(risk::check_risks(config, &jobs).await);
    findings.extend(readers::check_readers(config, registry, &jobs, identities).await);
    // Two stages that check the same server report the same findings.
    let mut seen = std::collections::BTreeSet::new();
    findings.retain(|finding| seen.insert(finding.clone()));
    Ok(findings)
}

/// Adds the job's name to findings about the databases of a job, if there are several jobs.
fn of_several_jobs(mut findings: Vec<Finding>, job: &Job, jobs: usize) -> Vec<Finding> {
    for finding in findings.iter_mut().filter(|finding| jobs > 1 && finding.subject == DATABASES) {
        finding.subject = format!("{DATABASES} of job {}", job.name);
    }
    findings
}

/// Checks that only root and this user can replace the programs of hooks.
fn check_hooks(job: &Job) -> Option<Finding> {
    let subject = format!("job {}", job.name);
    match hook::check(job) {
        Ok(()) if job.hooks.is_empty() => None,
        Ok(()) => Some(Finding::good(subject, "only root and this user can replace the programs of its hooks")),
        Err(error) => Some(Finding::failed(subject, &error)),
    }
}

/// Checks that the metrics file can be written.
fn check_metrics_file(config: &Config) -> Option<Finding> {
    let folder = config.metrics_file.as_ref()?.parent()?;
    let written = tempfile::tempfile_in(folder).map_err(|error| {
        Error::io(Stage::Config, folder.display().to_string(), "cannot write into the folder", error)
            .hint("create it for this user, or set metrics_file to a file in another folder")
    });
    written.err().map(|error| Finding::failed("metrics_file", &error))
}

/// Checks that this host can keep its state.
fn check_state_dir(config: &Config) -> Option<Finding> {
    let written = state_dir(config).and_then(|folder| {
        tempfile::tempfile_in(&folder).map_err(|error| {
            Error::io(Stage::Config, folder.display().to_string(), "cannot write into the folder", error)
                .hint("set state_dir in the configuration to a folder that this user can write to")
        })
    });
    written.err().map(|error| Finding::failed("state_dir", &error))
}

async fn check_stages(registry: &Registry, job: &Job, identities: &Identities) -> Vec<Finding> {
    let mut findings = Vec::new();
    match verifiers(registry, Some(job), &job.site) {
        Ok(verifiers) if verifiers.is_empty() => findings.push(Finding::warning(
            format!("job {}", job.name),
            "dumps are not verified",
            "remove verify to use the default verifier",
        )),
        Ok(verifiers) => {
            let formats = foreign_formats(job);
            let is_used = |verifier: &Arc<dyn Verify>| {
                formats.as_ref().is_none_or(|formats| formats.iter().any(|format| verifier.verifies(format)))
            };
            for verifier in verifiers.into_iter().filter(is_used) {
                findings.extend(verifier.check().await);
            }
        }
        Err(error) => findings.push(Finding::failed(format!("job {}", job.name), &error)),
    }
    findings.extend(check_encryption(registry, job, identities).await);
    for destination in job.ship.iter().filter(|name| !job.retention.contains_key(*name)) {
        findings.push(Finding::warning(
            format!("job {}", job.name),
            format!("no retention at \"{destination}\": nothing is ever removed there"),
            "add retention = \"…\" to the job, or delete old backups yourself",
        ));
    }
    findings
}

/// Returns the formats of the job's dumps, if all are those of other programs.
fn foreign_formats(job: &Job) -> Option<Vec<Format>> {
    // Another finding reports a dump that cannot be built.
    let formats: Option<Vec<_>> = job.dump.iter().map(|dump| dump(&job.site).ok()?.foreign_format()).collect();
    formats.filter(|formats| !formats.is_empty())
}

/// Checks that recipients parse, and that the identities given decrypt new backups.
async fn check_encryption(registry: &Registry, job: &Job, identities: &Identities) -> Vec<Finding> {
    let subject = format!("job {}", job.name);
    let Some(encrypt) = &job.encrypt else {
        let message = "encrypt = { type = \"none\" }: anyone who can read a destination can read the databases";
        return vec![Finding::warning(subject, message, "encrypt = { type = \"age\", recipients = [\"age1…\"] }")];
    };
    let encrypt = match encrypt(&()) {
        Ok(encrypt) => encrypt,
        Err(error) => return vec![Finding::failed(subject, &error)],
    };
    let mut findings = encrypt.check().await;
    if registry.can_decrypt(encrypt.name(), identities) {
        let by = if identities.programs.contains_key(encrypt.name()) { "decrypt" } else { "identity" };
        findings.push(match decrypt_probe(registry, &*encrypt, identities).await {
            Ok(()) => Finding::good(by, "decrypts new backups"),
            Err(error) if error.kind() == Kind::Denied && error.stage() == Stage::Decrypt => Finding {
                outcome: Outcome::Failed,
                subject: by.to_owned(),
                message: format!("decrypts no new backup of job {}, which encrypts for other recipients", job.name),
                remedy: Some(
                    "add its recipient to encrypt of the job: `longshore rekey` changes only stored backups".to_owned(),
                ),
            },
            Err(error) => Finding::failed(by, &error),
        });
    }
    findings
}

async fn decrypt_probe(registry: &Registry, encrypt: &dyn Encrypt, identities: &Identities) -> Result<()> {
    let decrypt = registry.decryption(encrypt.name(), identities)?;
    let plain = decrypt.decrypt(encrypt.encrypt(from_bytes(PROBE), "probe"), "probe").await?;
    expect_probe(&collect(plain, PROBE.len(), Stage::Decrypt, "probe").await?)
}

fn expect_probe(found: &[u8]) -> Result<()> {
    if found == PROBE.as_bytes() {
        return Ok(());
    }
    Err(Error::new(Stage::Ship, Kind::Corrupt, "probe", "the bytes read back differ from the bytes written"))
}

/// The size of a run of the checked jobs.
#[derive(Debug, Clone, Copy)]
struct RunSize {
    /// The estimated number of bytes to read.
    bytes: u64,
    /// True if all servers could be surveyed. Another finding reports a server that could not.
    is_complete: bool,
}

async fn check_destination(subject: &str, store: Arc<dyn Store>, run_size: RunSize) -> Vec<Finding> {
    let mut findings = store.check().await;
    for finding in &mut findings {
        finding.subject = subject.to_owned();
    }
    if findings.iter().any(|finding| finding.outcome == Outcome::Failed) {
        return findings;
    }
    findings.push(probe(subject, &*store).await);
    if let Some(free_space) = store.capabilities().free_space {
        findings.push(match free_space.free_bytes().await {
            Ok(free) => check_free_space(subject, free, run_size),
            Err(error) => Finding::failed(subject, &error),
        });
    }
    findings
}

/// Compares the size of a run with the free bytes.
fn check_free_space(subject: &str, free: u64, run_size: RunSize) -> Finding {
    let size = run_size.bytes >> 20;
    let needed = match run_size {
        RunSize { bytes: 0, .. } => String::new(),
        RunSize { is_complete: true, .. } => format!("; the databases take {size} MiB on disk"),
        _ => format!("; the databases that could be surveyed take {size} MiB on disk"),
    };
    let message = format!("{} MiB free{needed}", free >> 20);
    if free < run_size.bytes {
        Finding::warning(subject, message, "free some space, or keep fewer backups; compressed backups may still fit")
    } else {
        Finding::good(subject, message)
    }
}

/// Writes a probe, and tests which operations are permitted. Credentials that may only write
/// are not a fault.
async fn probe(subject: &str, store: &dyn Store) -> Finding {
    let attempt = async {
        let key = probe_key()?;
        store.ship(&key, from_bytes(PROBE)).await?;
        let mut denied = Vec::new();
        let mut permitted = |verb, done: Result<()>| match done {
            Err(error) if error.kind() == Kind::Denied => {
                denied.push(verb);
                Ok(())
            }
            done => done,
        };
        let read = async {
            expect_probe(&collect(store.fetch(&key, None).await?, PROBE.len(), Stage::Ship, key.as_str()).await?)
        };
        permitted("read", read.await)?;
        permitted("list", expect_listed(store, &key).await)?;
        permitted("remove", store.remove(&key).await)?;
        Ok(denied)
    };
    match attempt.await {
        Ok(denied) if denied.is_empty() => Finding::good(subject, "write, read back, list and remove work"),
        Ok(denied) if denied.len() == 3 => Finding::good(subject, "write-only: prune and verify from another host"),
        Ok(denied) => Finding::good(subject, format!("write works; not permitted here: {}", denied.join(", "))),
        Err(error) => Finding::failed(subject, &error),
    }
}

async fn expect_listed(store: &dyn Store, key: &Key) -> Result<()> {
    let mut entries = store.list(None).await?;
    while let Some(entry) = entries.next().await {
        if entry?.key == *key {
            return Ok(());
        }
    }
    Err(Error::new(Stage::Ship, Kind::Corrupt, key.as_str(), "was written, but is not listed"))
}

/// Returns a unique key at the top of the destination, so that no folder is left behind.
fn probe_key() -> Result<Key> {
    let now = Utc::now();
    let unique = Digest::of(format!("{} {now:?}", std::process::id()).as_bytes()).hex().to_owned();
    Key::parse(&format!("longshore-check-{}-{}", Timestamp::new(now), &unique[..16]))
}

#[cfg(test)]
mod tests {
    use longshore_testkit::memory::{Fault, MemoryStore, Operation};

    use super::*;

    #[tokio::test]
    async fn probe_reports_permitted_operations() {
        let store = MemoryStore::new();
        assert_eq!(probe("disk", &store).await.message, "write, read back, list and remove work");
        store.fault(Operation::Remove, Fault::Deny);
        assert_eq!(probe("disk", &store).await.message, "write works; not permitted here: remove");
        store.fault(Operation::Fetch, Fault::Deny);
        store.fault(Operation::List, Fault::Deny);
        let write_only = probe("disk", &store).await;
        assert_eq!(
            (write_only.outcome, &*write_only.message),
            (Outcome::Good, "write-only: prune and verify from another host")
        );
        store.fault(Operation::Ship, Fault::Deny);
        assert_eq!(probe("disk", &store).await.outcome, Outcome::Failed);
    }

    #[test]
    fn free_space_is_compared_if_a_survey_failed() {
        let found = |bytes, is_complete| {
            let finding = check_free_space("disk", 5 << 20, RunSize { bytes, is_complete });
            (finding.outcome, finding.message)
        };
        let complete = "5 MiB free; the databases take 4 MiB on disk".to_owned();
        let incomplete = "5 MiB free; the databases that could be surveyed take 6 MiB on disk".to_owned();
        assert_eq!(found(4 << 20, true), (Outcome::Good, complete));
        assert_eq!(found(6 << 20, false), (Outcome::Warning, incomplete));
        for is_complete in [true, false] {
            assert_eq!(found(0, is_complete), (Outcome::Good, "5 MiB free".to_owned()), "no size is known");
        }
    }

    #[tokio::test]
    async fn probe_is_removed() {
        let store = MemoryStore::new();
        probe("disk", &store).await;
        assert!(store.list(None).await.unwrap().next().await.is_none());
    }
}
