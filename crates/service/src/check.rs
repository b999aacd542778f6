//! Tests of everything that the next run depends on: every stage checks its requirements, and every
//! destination stores, returns and deletes a probe.

mod advice;
mod server;

use std::sync::Arc;

use chrono::Utc;
use futures_util::StreamExt;
use longshore_core::check::{Finding, Outcome};
use longshore_core::key::{Key, Stamp};
use longshore_core::meter::Digest;
use longshore_core::plugin::Identities;
use longshore_core::stage::{Encrypt, Store};
use longshore_core::stream::{collect, from_bytes};
use longshore_core::{Error, Kind, Result, Stage};

use crate::config::{Config, Job};
use crate::registry::Registry;
use crate::verify::judges;

/// The content of every probe.
const PROBE: &str = "a probe of `longshore check`: this file can be deleted\n";

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
    let mut wanted = Wanted { bytes: 0, is_all: true };
    for job in &jobs {
        let (found, bytes) = server::of_server(config, job).await;
        findings.extend(found);
        match bytes {
            Some(bytes) => wanted.bytes += bytes,
            None => wanted.is_all = false,
        }
        findings.extend(of_stages(registry, job, identities).await);
    }
    for (name, destination) in &config.destinations {
        let shipping: Vec<&&Job> = jobs.iter().filter(|job| job.ship.contains(name)).collect();
        if !shipping.is_empty() {
            let subject = format!("destination {name}");
            let opened = shipping.iter().map(|job| destination.open_under(name, job.retention.get(name)));
            match opened.reduce(Result::and).unwrap_or_else(|| destination.open()) {
                Ok(store) => findings.extend(of_destination(&subject, store, wanted).await),
                Err(error) => findings.push(Finding::failed(subject, &error)),
            }
        }
    }
    findings.extend(advice::advise(config, &jobs).await);
    // Two stages that check the same server report the same findings.
    let mut seen = std::collections::BTreeSet::new();
    findings.retain(|finding| seen.insert(finding.clone()));
    Ok(findings)
}

async fn of_stages(registry: &Registry, job: &Job, identities: &Identities) -> Vec<Finding> {
    let mut findings = Vec::new();
    match judges(registry, Some(job), &job.site) {
        Ok(judges) if judges.is_empty() => findings.push(Finding::warning(
            format!("job {}", job.name),
            "dumps are not verified",
            "remove verify to use the default verifier",
        )),
        Ok(judges) => {
            for judge in judges {
                findings.extend(judge.check().await);
            }
        }
        Err(error) => findings.push(Finding::failed(format!("job {}", job.name), &error)),
    }
    findings.extend(of_sealing(registry, job, identities).await);
    for destination in job.ship.iter().filter(|name| !job.retention.contains_key(*name)) {
        findings.push(Finding::warning(
            format!("job {}", job.name),
            format!("no retention at \"{destination}\": nothing is ever removed there"),
            "add retention = \"…\" to the job, or delete old backups yourself",
        ));
    }
    findings
}

/// Checks that recipients parse, and that the identities given decrypt new backups.
async fn of_sealing(registry: &Registry, job: &Job, identities: &Identities) -> Vec<Finding> {
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
    if !identities.is_empty() {
        findings.push(match opened(registry, &*encrypt, identities).await {
            Ok(()) => Finding::good("identity", "decrypts new backups"),
            Err(error) => Finding::failed("identity", &error),
        });
    }
    findings
}

async fn opened(registry: &Registry, encrypt: &dyn Encrypt, identities: &Identities) -> Result<()> {
    let decrypt = registry.decrypt.build(encrypt.name(), identities)?;
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
struct Wanted {
    /// The estimated number of bytes to read.
    bytes: u64,
    /// True if all servers could be surveyed. Another finding reports a server that could not.
    is_all: bool,
}

async fn of_destination(subject: &str, store: Arc<dyn Store>, wanted: Wanted) -> Vec<Finding> {
    let mut findings = store.check().await;
    for finding in &mut findings {
        finding.subject = subject.to_owned();
    }
    if findings.iter().any(|finding| finding.outcome == Outcome::Failed) {
        return findings;
    }
    findings.push(probed(subject, &*store).await);
    if let Some(room) = store.room() {
        findings.push(match room.free_bytes().await {
            Ok(free) => of_room(subject, free, wanted),
            Err(error) => Finding::failed(subject, &error),
        });
    }
    findings
}

/// Returns whether the wanted bytes fit into `free` bytes.
fn of_room(subject: &str, free: u64, wanted: Wanted) -> Finding {
    let size = wanted.bytes >> 20;
    let takes = match wanted {
        Wanted { is_all: true, .. } => format!("; the databases take {size} MiB on disk"),
        Wanted { bytes: 0, .. } => String::new(),
        _ => format!("; the databases that could be surveyed take {size} MiB on disk"),
    };
    let message = format!("{} MiB free{takes}", free >> 20);
    if free < wanted.bytes {
        Finding::warning(subject, message, "free some space, or keep fewer backups; compressed backups may still fit")
    } else {
        Finding::good(subject, message)
    }
}

/// Writes a probe, and tests which operations are permitted. Credentials that may only write
/// are not a fault.
async fn probed(subject: &str, store: &dyn Store) -> Finding {
    let attempt = async {
        let key = probe_key()?;
        store.ship(&key, from_bytes(PROBE)).await?;
        let mut denied = Vec::new();
        let mut note = |verb, done: Result<()>| match done {
            Err(error) if error.kind() == Kind::Denied => {
                denied.push(verb);
                Ok(())
            }
            done => done,
        };
        let read = async {
            expect_probe(&collect(store.fetch(&key, None).await?, PROBE.len(), Stage::Ship, key.as_str()).await?)
        };
        note("read", read.await)?;
        note("list", listed(store, &key).await)?;
        note("remove", store.remove(&key).await)?;
        Ok(denied)
    };
    match attempt.await {
        Ok(denied) if denied.is_empty() => Finding::good(subject, "write, read back, list and remove work"),
        Ok(denied) if denied.len() == 3 => Finding::good(subject, "write-only: prune and verify from another host"),
        Ok(denied) => Finding::good(subject, format!("write works; not permitted here: {}", denied.join(", "))),
        Err(error) => Finding::failed(subject, &error),
    }
}

async fn listed(store: &dyn Store, key: &Key) -> Result<()> {
    let mut entries = store.list().await?;
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
    Key::parse(&format!("longshore-check-{}-{}", Stamp::new(now), &unique[..16]))
}

#[cfg(test)]
mod tests {
    use longshore_testkit::memory::{Fault, MemoryStore, Operation};

    use super::*;

    #[tokio::test]
    async fn what_a_destination_permits_is_said() {
        let store = MemoryStore::new();
        assert_eq!(probed("disk", &store).await.message, "write, read back, list and remove work");
        store.fault(Operation::Remove, Fault::Deny);
        assert_eq!(probed("disk", &store).await.message, "write works; not permitted here: remove");
        store.fault(Operation::Fetch, Fault::Deny);
        store.fault(Operation::List, Fault::Deny);
        let write_only = probed("disk", &store).await;
        assert_eq!(
            (write_only.outcome, &*write_only.message),
            (Outcome::Good, "write-only: prune and verify from another host")
        );
        store.fault(Operation::Ship, Fault::Deny);
        assert_eq!(probed("disk", &store).await.outcome, Outcome::Failed);
    }

    #[test]
    fn a_server_that_cannot_be_asked_hides_no_lack_of_room() {
        let found = |bytes, is_all| {
            let finding = of_room("disk", 5 << 20, Wanted { bytes, is_all });
            (finding.outcome, finding.message)
        };
        let of_all = "5 MiB free; the databases take 4 MiB on disk".to_owned();
        let of_some = "5 MiB free; the databases that could be surveyed take 6 MiB on disk".to_owned();
        assert_eq!(found(4 << 20, true), (Outcome::Good, of_all));
        assert_eq!(found(6 << 20, false), (Outcome::Warning, of_some));
        assert_eq!(found(0, false), (Outcome::Good, "5 MiB free".to_owned()));
    }

    #[tokio::test]
    async fn a_probe_leaves_nothing_behind() {
        let store = MemoryStore::new();
        probed("disk", &store).await;
        assert!(store.list().await.unwrap().next().await.is_none());
    }
}
