//! Starting a server on the restored files, until its recovery has ended.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use longshore_core::base::Lsn;
use longshore_core::manifest::Manifest;
use longshore_core::plugin::{Recovery, RecoveryEnd, Start};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::child;
use longshore_pg_client::tool::{Tool, Toolbox, Version};
use longshore_pg_wal::History;
use rustix::process::{Pid, test_kill_process};
use tokio::process::Command;
use tokio::time::sleep;

/// The file in the data directory with the first lines of the server's log. The later ones may be
/// elsewhere, by the settings of the server.
const LOG: &str = "longshore-start.log";

/// The number of lines of the log in an error.
const LOG_LINES: usize = 5;

/// The time after which `pg_ctl` reports that the server does not even begin its recovery, in
/// seconds.
const START_SECONDS: &str = "600";

const POLL: Duration = Duration::from_millis(200);

/// The place of the server's state in `postmaster.pid`, counted from 0 (`pidfile.h`).
const STATE_LINE: usize = 7;

/// Starts a server on a restored data directory, and waits until its recovery has ended. Returns a
/// note about it.
///
/// # Errors
///
/// Fails with [`Kind::Corrupt`] if the recovery ended before the position that it must reach, and
/// with [`Kind::Failed`] if the server ended. The files stay.
pub(crate) async fn start(
    data: &Path,
    manifest: &Manifest,
    start: &Start,
    recovery: Option<&Recovery>,
) -> Result<String> {
    let subject = data.display().to_string();
    let failed = |kind, message: String| {
        Error::new(Stage::Restore, kind, subject.as_str(), format!("is restored, but {message}"))
    };
    let pg_ctl = program(manifest, start).await?;
    let output = child::output(command(&pg_ctl, data)?, "pg_ctl")
        .await
        .map_err(|error| Error::io(Stage::Restore, subject.as_str(), "is restored, but pg_ctl does not run", error))?;
    let log = data.join(LOG);
    let hint = format!(
        "read {}, and start the server with pg_ctl; if another server uses its port: --options \"-p PORT\"",
        log.display()
    );
    if !output.status.success() {
        return Err(failed(Kind::Failed, format!("the server does not start:\n{}", last_lines(&log))).hint(hint));
    }
    while state(data).as_deref() != Some("ready") {
        if !is_running(data) {
            let message = format!("the server ended before its recovery did:\n{}", last_lines(&log));
            return Err(failed(Kind::Failed, message).hint(hint));
        }
        sleep(POLL).await;
    }
    let Some(recovery) = recovery.filter(|recovery| recovery.end == RecoveryEnd::Target) else {
        return Ok("the server has started, and accepts writes".to_owned());
    };
    let (timeline, end) = newest_switch(data, recovery)
        .ok_or_else(|| failed(Kind::Corrupt, "the server began no timeline at the end of its recovery".to_owned()))?;
    match recovery.reaches {
        Some(reaches) if end < reaches => {
            let message = format!("the recovery ended at {end}, before {reaches}");
            Err(failed(Kind::Corrupt, message).hint("look for the cause in the server's log, and restore again"))
        }
        _ => Ok(format!("the server has started: its recovery ended at {end}, and it writes on timeline {timeline}")),
    }
}

/// Returns the `pg_ctl` of the server's release: no other one reads its files.
async fn program(manifest: &Manifest, start: &Start) -> Result<Tool> {
    let text = &manifest.cluster.server.server_version;
    let unknown = || Error::new(Stage::Restore, Kind::Failed, text, "not a version of PostgreSQL");
    let version = Version::parse(text).ok_or_else(unknown)?;
    let found = Toolbox::new(start.bin_dir.as_deref()).find("pg_ctl", Some(&version)).await;
    match found {
        Ok(tool) if tool.version.major == version.major => Ok(tool),
        found => {
            let major = version.major;
            let message = format!("the server of PostgreSQL {major} is not installed here");
            let error = Error::new(Stage::Restore, Kind::Failed, "pg_ctl", message).hint(format!(
                "install it (Debian: apt-get install postgresql-{major}), or set bin_dir of the cluster"
            ));
            Err(found.err().into_iter().fold(error, Error::because))
        }
    }
}

/// Returns the command that starts the server, as the owner of its files if this process may.
fn command(pg_ctl: &Tool, data: &Path) -> Result<Command> {
    let mut command = Command::new(&pg_ctl.path);
    command.args(["start", "--silent", "--wait", "--timeout", START_SECONDS, "--pgdata"]).arg(data);
    command.arg("--log").arg(data.join(LOG)).current_dir("/");
    let owner = fs::metadata(data)
        .map_err(|error| Error::io(Stage::Restore, data.display().to_string(), "cannot be inspected", error))?;
    if rustix::process::geteuid().is_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    Ok(command)
}

/// Returns the state that the server reports in `postmaster.pid`.
fn state(data: &Path) -> Option<String> {
    let content = fs::read_to_string(pid_file(data)).ok()?;
    Some(content.lines().nth(STATE_LINE)?.trim().to_owned())
}

/// Returns true if the process in `postmaster.pid` exists.
fn is_running(data: &Path) -> bool {
    let content = fs::read_to_string(pid_file(data)).unwrap_or_default();
    let pid = content.lines().next().and_then(|line| Pid::from_raw(line.trim().parse().ok()?));
    // A process of another user exists as well.
    pid.is_some_and(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

fn pid_file(data: &Path) -> PathBuf {
    data.join("postmaster.pid")
}

/// Returns the newest timeline that the recovery may have begun, and the position of its beginning.
fn newest_switch(data: &Path, recovery: &Recovery) -> Option<(u32, Lsn)> {
    let recovered = recovery.settings.iter().find(|(name, _)| name == "recovery_target_timeline");
    let recovered: u32 = recovered?.1.parse().ok()?;
    let entries = fs::read_dir(data.join("pg_wal")).ok()?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let timelines = names.filter_map(|name| u32::from_str_radix(name.strip_suffix(".history")?, 16).ok());
    let newest = timelines.max().filter(|newest| *newest > recovered)?;
    let content = fs::read(data.join(format!("pg_wal/{newest:08X}.history"))).ok()?;
    Some((newest, History::parse(newest, &content).ok()?.switch_point(recovered)?))
}

fn last_lines(log: &Path) -> String {
    let content = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&content);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recovery(reaches: &str) -> Recovery {
        Recovery {
            settings: vec![("recovery_target_timeline".to_owned(), "2".to_owned())],
            reaches: Some(reaches.parse().unwrap()),
            ..Recovery::default()
        }
    }

    #[test]
    fn end_of_recovery_is_the_beginning_of_the_newest_timeline() {
        let folder = tempfile::tempdir().unwrap();
        let wal = folder.path().join("pg_wal");
        fs::create_dir(&wal).unwrap();
        assert_eq!(newest_switch(folder.path(), &recovery("0/1")), None);
        fs::write(wal.join("00000002.history"), "1\t0/3000000\tpromoted\n").unwrap();
        assert_eq!(newest_switch(folder.path(), &recovery("0/1")), None, "it existed before");
        fs::write(wal.join("00000003.history"), "1\t0/3000000\tpromoted\n2\t0/5000128\tpromoted\n").unwrap();
        assert_eq!(newest_switch(folder.path(), &recovery("0/1")), Some((3, "0/5000128".parse().unwrap())));
    }

    #[test]
    fn state_is_that_of_the_pid_file() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_running(folder.path()) && state(folder.path()).is_none());
        let content = format!("{}\n/data\n1\n5432\n/tmp\n\n 1 2\nstandby \n", std::process::id());
        fs::write(pid_file(folder.path()), content).unwrap();
        assert!(is_running(folder.path()));
        assert_eq!(state(folder.path()).as_deref(), Some("standby"));
    }
}
