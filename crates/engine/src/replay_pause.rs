//! Pausing a standby's replay while a run dumps. The pause is recorded on this host before it
//! begins, so that a later run finds and ends the pause of a killed run, and no other pause.
//!
//! A record belongs to one server process, since a pause ends with the process. Each run that uses
//! a pause holds a shared lock, which ends with the run's process. The last run to release its lock
//! resumes replay.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use longshore_config::{Config, Job};
use longshore_core::check::Finding;
use longshore_core::cleanup;
use longshore_core::meter::Digest;
use longshore_core::stage::Dump;
use longshore_core::standby::{Paused, Replay, Standby};
use longshore_core::{Error, Kind, Result, Stage, regular_file};
use serde::{Deserialize, Serialize};

use crate::destination_state::state_dir;
use crate::{dirs, state_file};

/// The folder of records, in the folder for state.
const FOLDER: &str = "replay";
/// The maximum time for replay to catch up after the pause of a killed run.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(60);
/// The interval between two queries of the replay state.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// The maximum number of attempts to resume replay.
const ATTEMPTS: u32 = 3;

/// The record of a pause.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// The cluster's name in the configuration.
    cluster: String,
    /// The server process, as in [`Replay::server`].
    server: String,
    /// The job whose run began the pause.
    job: String,
    /// The process id of the run.
    process: u32,
    /// The start time of the pause.
    since: DateTime<Utc>,
}

/// The files of one server's pause.
struct Files {
    folder: PathBuf,
    record: PathBuf,
    users: PathBuf,
}

impl Files {
    fn of(folder: &Path, server: &str) -> Self {
        let digest = Digest::of(server.as_bytes());
        let file = |extension: &str| folder.join(format!("{}.{extension}", &digest.hex()[..16]));
        Self { folder: folder.to_owned(), record: file("json"), users: file("users") }
    }

    /// Waits for the lock that serializes the start and end of pauses on this host.
    async fn exclusive(&self) -> Result<File> {
        let path = self.folder.join("lock");
        let waited = tokio::task::spawn_blocking(move || {
            let file = open(&path)?;
            file.lock().map_err(|error| failed(&path, "cannot lock the file", error))?;
            Ok(file)
        });
        waited.await.map_err(|error| {
            Error::new(Stage::Lock, Kind::Failed, "replay", "cannot wait for the lock of pauses").because(error)
        })?
    }

    /// Returns the record, if there is one. An unreadable record is an error.
    fn recorded(&self) -> Result<Option<Record>> {
        let bytes = match regular_file::read(&self.record) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&self.record, "cannot read the record of a pause", error)),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            failed(&self.record, "not a record of a pause", error.into())
                .hint("check whether replay is paused, resume it if so, and remove the file")
        })
    }

    fn write(&self, record: &Record) -> Result<()> {
        let written = || -> std::io::Result<()> { state_file::write(&self.record, record) };
        written().map_err(|error| failed(&self.record, "cannot record a pause", error))
    }

    fn remove_record(&self) -> Result<()> {
        match fs::remove_file(&self.record) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(failed(&self.record, "cannot remove the record of a pause", error))
            }
            _ => Ok(()),
        }
    }
}

fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    regular_file::open(path, &mut options).map_err(|error| failed(path, "cannot open the file", error))
}

fn failed(path: &Path, message: &str, error: std::io::Error) -> Error {
    Error::io(Stage::Lock, path.display().to_string(), message, error)
}

/// Takes the exclusive lock. Returns false if a running process holds the lock.
fn try_lock_exclusive(users: &File, path: &Path) -> Result<bool> {
    match users.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(failed(path, "cannot lock the file", error)),
    }
}

fn folder(config: &Config) -> Result<PathBuf> {
    let folder = state_dir(config)?.join(FOLDER);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|error| failed(&folder, "cannot create the folder for records of pauses", error))?;
    Ok(folder)
}

/// Returns true if a pause of any server is recorded.
fn is_any_recorded(config: &Config) -> bool {
    let folder = dirs::state_dir(config).map(|folder| folder.join(FOLDER));
    let entries = folder.and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| path.extension().is_some_and(|extension| extension == "json"))
}

/// A run's use of a pause. Dropping the last use ends the pause.
pub(crate) struct Pause(Option<PauseUse>);

struct PauseUse {
    dump: Arc<dyn Dump>,
    files: Files,
    users: File,
}

impl Pause {
    /// Ends the use, and resumes replay if no other run uses the pause.
    pub(crate) async fn finish(mut self) -> Result<()> {
        match self.0.take() {
            Some(pause_use) => cleanup::shield(pause_use.end()).await,
            None => Ok(()),
        }
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        if let Some(pause_use) = self.0.take() {
            cleanup::spawn_cleanup(pause_use.end());
        }
    }
}

impl PauseUse {
    async fn end(self) -> Result<()> {
        let Self { dump, files, users } = self;
        let Some(standby) = dump.standby() else { return Ok(()) };
        let _exclusive = files.exclusive().await?;
        users.unlock().map_err(|error| failed(&files.users, "cannot unlock the file", error))?;
        if try_lock_exclusive(&users, &files.users)? && files.record.exists() {
            resume(standby).await?;
            files.remove_record()?;
        }
        Ok(())
    }
}

async fn resume(standby: &dyn Standby) -> Result<()> {
    let mut attempt = 1;
    loop {
        match standby.resume().await {
            Err(_) if attempt < ATTEMPTS => {
                attempt += 1;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(error) => {
                let message = "replay could not be resumed after the pause of a run";
                return Err(Error::new(Stage::Dump, error.kind(), "replay", message)
                    .because(error)
                    .hint("resume it: select pg_wal_replay_resume(); the next run also tries to"));
            }
            Ok(()) => return Ok(()),
        }
    }
}

/// Pauses the replay of the standby that a job dumps, if its cluster sets `pause_replay`. First
/// ends a pause that a killed run left. Also returns warnings for the operator.
pub(crate) async fn begin(config: &Config, job: &Job, dump: &Arc<dyn Dump>) -> Result<(Option<Pause>, Vec<String>)> {
    let mut warnings = Vec::new();
    let Some(standby) = dump.standby() else { return Ok((None, warnings)) };
    if !job.pause_replay && !is_any_recorded(config) {
        return Ok((None, warnings));
    }
    let Some(replay) = standby.replay_state().await? else { return Ok((None, warnings)) };
    let files = Files::of(&folder(config)?, &replay.server);
    let exclusive = files.exclusive().await?;
    let users = open(&files.users)?;
    let is_exclusive = try_lock_exclusive(&users, &files.users)?;
    if is_exclusive && let Some(record) = files.recorded()? {
        end_stale_pause(standby, &files, &record, job.pause_replay, &mut warnings).await?;
    }
    if !job.pause_replay {
        return Ok((None, warnings));
    }
    let replay = standby.replay_state().await?.unwrap_or(replay);
    if replay.paused && !files.record.exists() {
        warnings.push("the standby's replay is paused, but not by this host: it stays paused".to_owned());
        return Ok((None, warnings));
    }
    if !replay.paused && !replay.may_pause {
        return Err(may_not_pause(&job.site.cluster.name));
    }
    users.unlock().map_err(|error| failed(&files.users, "cannot unlock the file", error))?;
    users.lock_shared().map_err(|error| failed(&files.users, "cannot lock the file", error))?;
    if !files.record.exists() {
        files.write(&Record {
            cluster: job.site.cluster.name.clone(),
            server: replay.server,
            job: job.name.clone(),
            process: std::process::id(),
            since: Utc::now(),
        })?;
    }
    // From here on, dropping the guard ends the use.
    let pause = Pause(Some(PauseUse { dump: Arc::clone(dump), files, users }));
    if !replay.paused && standby.pause().await? == Paused::Requested {
        warnings.push("the standby's replay was asked to pause, but has not stopped yet".to_owned());
    }
    drop(exclusive);
    Ok((Some(pause), warnings))
}

/// Ends the pause of a killed run. Before another pause, replay catches up first: a dump of old
/// data is useless.
async fn end_stale_pause(
    standby: &dyn Standby,
    files: &Files,
    record: &Record,
    catch_up: bool,
    warnings: &mut Vec<String>,
) -> Result<()> {
    resume(standby).await?;
    files.remove_record()?;
    warnings.push(format!("the standby's replay was {}: it was resumed", stale_description(record)));
    let begun = Instant::now();
    while catch_up && begun.elapsed() < CATCH_UP_TIMEOUT {
        if standby.replay_state().await?.is_none_or(|replay| replay.caught_up) {
            break;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Ok(())
}

/// Describes the run that left a pause.
fn stale_description(record: &Record) -> String {
    let since = record.since.to_rfc3339_opts(SecondsFormat::Secs, true);
    format!(
        "left paused by a run of job \"{}\" (process {}, since {since}), which has ended",
        record.job, record.process
    )
}

fn may_not_pause(cluster: &str) -> Error {
    let message = "pause_replay is set, but the role may not pause replay";
    Error::new(Stage::Config, Kind::Denied, cluster, message).hint(
        "on the primary, in the database of the connection: grant execute on function pg_wal_replay_pause(), \
         pg_wal_replay_resume() to the role",
    )
}

/// Checks the replay of the standby that a job dumps: whether it can be paused, cancels dumps, or
/// was left paused.
pub(crate) async fn check_replay(config: &Config, job: &Job, dump: &dyn Dump) -> Vec<Finding> {
    let subject = format!("cluster {}", job.site.cluster.name);
    let Some(standby) = dump.standby() else { return Vec::new() };
    let found = async {
        let Some(replay) = standby.replay_state().await? else {
            let message = "the server is not a standby now: pause_replay has no effect";
            return Ok(job.pause_replay.then(|| Finding::good(&subject, message)).into_iter().collect());
        };
        let mut findings = vec![match job.pause_replay {
            false => standby.settings().await?,
            true if !replay.may_pause => Finding::failed(&subject, &may_not_pause(&job.site.cluster.name)),
            true => Finding::good(&subject, "the standby's replay is paused during a dump"),
        }];
        findings.extend(stale_pause_finding(config, &replay, &subject)?);
        Ok::<_, Error>(findings)
    };
    found.await.unwrap_or_else(|error| vec![Finding::failed(&subject, &error)])
}

/// Returns the finding about a pause that no run uses.
fn stale_pause_finding(config: &Config, replay: &Replay, subject: &str) -> Result<Option<Finding>> {
    if !replay.paused {
        return Ok(None);
    }
    let resume = "resume it: select pg_wal_replay_resume()";
    let files = Files::of(&dirs::state_dir(config).unwrap_or_default().join(FOLDER), &replay.server);
    let Some(record) = files.recorded()? else {
        let message = "the standby's replay is paused, but not by this host: a dump is as old as the pause";
        return Ok(Some(Finding::warning(subject, message, resume)));
    };
    let users = open(&files.users)?;
    if !try_lock_exclusive(&users, &files.users)? {
        return Ok(Some(Finding::good(subject, "the standby's replay is paused by a run in progress")));
    }
    let message = format!("the standby's replay was {}", stale_description(&record));
    Ok(Some(Finding::warning(subject, message, format!("{resume}, or run the job, which resumes it"))))
}

#[cfg(test)]
mod tests;
