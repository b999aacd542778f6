//! Archives: `pg_restore` converts them completely to SQL, which is discarded.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

use longshore_core::manifest::Verification;
use longshore_core::stream::ByteStream;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::child::{Exit, InputTimeout, Pipes, Process, feed};
use longshore_pg_client::client::{Client, plain_command};
use longshore_pg_client::directory;
use longshore_pg_client::tool::Tool;

/// The minimum speed at which `pg_restore` decodes, in bytes of a directory dump per second.
const BYTES_PER_SECOND: u64 = 10_000_000;

/// Verifies an archive in a format that `pg_restore` can read from a pipe.
pub(crate) async fn verify_stream(
    client: &Client,
    format: &str,
    mut plaintext: ByteStream,
    subject: &str,
    time_limit: Duration,
) -> Result<Verification> {
    let pg_restore = client.newest_tool("pg_restore").await?;
    let mut command = plain_command(&pg_restore);
    command.args(["--file=/dev/null", &format!("--format={format}")]);
    let mut process = Process::start(command, "pg_restore", Pipes::Input)?;
    let input_timeout = InputTimeout { limit: time_limit, stage: Stage::Verify, subject };
    feed(&mut process.stdin, &mut plaintext, Some(input_timeout)).await?;
    wait_for_result(process, time_limit, &pg_restore, subject).await
}

/// Verifies a directory dump, which `pg_restore` reads from files only.
pub(crate) async fn verify_folder(
    client: &Client,
    scratch: Option<&Path>,
    plaintext: ByteStream,
    subject: &str,
    time_limit: Duration,
) -> Result<Verification> {
    let pg_restore = client.newest_tool("pg_restore").await?;
    let folder = directory::private_folder(scratch, Stage::Verify)?;
    directory::unpack(plaintext, folder.path(), Stage::Verify, subject).await?;
    let mut command = plain_command(&pg_restore);
    command.args(["--file=/dev/null", "--format=directory"]).arg(folder.path().join("dump"));
    let time_limit = time_limit.saturating_add(reading_time(&folder.path().join("dump"))?);
    let process = Process::start(command, "pg_restore", Pipes::Neither)?;
    wait_for_result(process, time_limit, &pg_restore, subject).await
}

/// Returns the maximum time for reading the files of a directory dump.
fn reading_time(dump: &Path) -> Result<Duration> {
    let inspect_error =
        |error| Error::io(Stage::Verify, dump.display().to_string(), "cannot inspect the unpacked files", error);
    let mut bytes = 0;
    for file in std::fs::read_dir(dump).map_err(inspect_error)? {
        bytes += file.and_then(|file| file.metadata()).map_err(inspect_error)?.len();
    }
    Ok(Duration::from_secs(bytes / BYTES_PER_SECOND))
}

/// Waits at most `time_limit` for a `pg_restore` whose input is complete, and returns its result.
async fn wait_for_result(
    process: Process,
    time_limit: Duration,
    pg_restore: &Tool,
    subject: &str,
) -> Result<Verification> {
    let Some(exit) = process.wait_at_most(time_limit).await? else {
        let message = format!("pg_restore did not finish within {} s and was terminated", time_limit.as_secs());
        return Err(Error::new(Stage::Verify, Kind::Failed, subject, message)
            .hint("raise timeout_seconds if the host was slow, or verify with type = \"pg_archive\""));
    };
    if let Some(error) = failure(&exit, subject) {
        return Err(error);
    }
    Ok(Verification {
        by: format!("{} {}", pg_restore.name, pg_restore.version),
        method: "decoded".to_owned(),
        totals: std::collections::BTreeMap::new(),
    })
}

/// Returns the error of a failed `pg_restore`. A failure is not damage, which our own reader
/// detects.
fn failure(exit: &Exit, subject: &str) -> Option<Error> {
    if exit.status.success() {
        return None;
    }
    let error = exit.error(Stage::Verify, Kind::Failed, subject);
    Some(if exit.status.signal().is_some() {
        error
    } else {
        error.hint("install newer client programs, or client programs with support for the archive's compression")
    })
}

#[cfg(test)]
mod tests {
    use tokio::process::Command;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Returns the verification by a program that runs `script`.
    async fn run_script(script: &str, time_limit: Duration) -> Result<Verification> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let process = Process::start(command, "pg_restore", Pipes::Neither).unwrap();
        let version = longshore_pg_client::tool::Version::parse("15.1").unwrap();
        let tool = Tool { name: "pg_restore", path: "sh".into(), version };
        wait_for_result(process, time_limit, &tool, "appdb").await
    }

    #[tokio::test]
    async fn failed_pg_restore_is_no_damage() {
        for (script, has_hint) in [
            ("echo 'pg_restore: error: could not read from input file: end of file' >&2; exit 1", true),
            ("echo 'pg_restore: Fehler: nicht unterstützte Version (1.16) im Dateikopf' >&2; exit 1", true),
            ("kill -9 $$", false),
        ] {
            let error = run_script(script, 60 * SECOND).await.unwrap_err();
            assert_eq!(
                (error.stage(), error.kind(), error.subject()),
                (Stage::Verify, Kind::Failed, "appdb"),
                "{script}"
            );
            assert_eq!(error.remedy().is_some(), has_hint, "{script}");
        }
        run_script("exit 0", 60 * SECOND).await.unwrap();
    }

    #[tokio::test]
    async fn terminates_hanging_pg_restore() {
        let error = run_script("sleep 1000", SECOND / 20).await.unwrap_err();
        assert_eq!((error.stage(), error.kind(), error.subject()), (Stage::Verify, Kind::Failed, "appdb"));
    }

    #[test]
    fn time_limit_grows_with_size() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(reading_time(folder.path()).unwrap(), Duration::ZERO);
        for name in ["1.dat", "2.dat"] {
            std::fs::File::create(folder.path().join(name)).unwrap().set_len(15_000_000).unwrap();
        }
        assert_eq!(reading_time(folder.path()).unwrap(), 3 * SECOND);
    }
}
