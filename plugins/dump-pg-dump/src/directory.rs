//! Formats that need disk space: the directory format, packed as one tar stream, and pg_dump's own
//! tar format, which writes temporary files.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use futures_util::StreamExt;
use longshore_core::check::Finding;
use longshore_core::stream::ByteStream;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::child::{Exit, Pipes, Process, Stderr};
use longshore_pg_client::client::Client;
use longshore_pg_client::directory;
use tokio::process::Command;

/// Dumps into a private directory below `scratch`, then streams it as a tar and removes each file
/// after its bytes have passed. Dropping the stream removes the directory.
pub(crate) fn dump<F: Future<Output = Error> + Send>(
    mut command: Command,
    scratch: Option<&Path>,
    failure: impl FnOnce(Exit) -> F + Send + 'static,
    success: impl FnOnce(Stderr) + Send + 'static,
) -> Result<ByteStream> {
    let folder = directory::private_folder(scratch, Stage::Dump)?;
    command.arg("--file").arg(folder.path().join("dump"));
    let process = Process::start(command, "pg_dump", Pipes::Neither)?;
    let stream = async_stream::try_stream! {
        let exit = process.wait().await?;
        let stderr = if exit.status.success() { exit.stderr } else { Err(failure(exit).await)? };
        for await chunk in directory::pack(folder) {
            yield chunk?;
        }
        success(stderr);
    };
    Ok(stream.boxed())
}

/// Checks the directory that the directory format writes to, for a dump of `bytes` of databases.
pub(crate) fn findings(scratch: &Path, bytes: u64) -> Vec<Finding> {
    let path = scratch.display().to_string();
    // Only creating a directory proves that one can be created; it is removed at once.
    if let Err(error) = directory::private_folder(Some(scratch), Stage::Dump) {
        let error = error.hint("create the directory of scratch_dir, writable by the user that runs the job");
        return vec![Finding::failed("scratch_dir", &error)];
    }
    let inspect = || Ok((scratch.metadata()?.mode(), rustix::fs::statvfs(scratch)?));
    let (mode, space) = match inspect() {
        Ok(inspected) => inspected,
        Err(error) => {
            let error = Error::io(Stage::Dump, path, "cannot inspect it", error);
            return vec![Finding::failed("scratch_dir", &error)];
        }
    };
    let mut findings = Vec::new();
    if mode & OTHERS_WRITE != 0 && mode & STICKY == 0 {
        let message = format!("{path} is world-writable: any user can replace the directory of the dump");
        findings.push(Finding::warning(
            "scratch_dir",
            message,
            format!("run `chmod +t {path}`, or use another directory"),
        ));
    }
    let free = space.f_bavail * space.f_frsize;
    let message = format!("{path} has {} MiB free; the databases take {} MiB on disk", free >> 20, bytes >> 20);
    findings.push(if free < bytes {
        Finding::warning("scratch_dir", message, "free disk space, or use format = \"custom\", which needs none")
    } else {
        Finding::good("scratch_dir", message)
    });
    findings
}

/// The mode bits of a directory that let other users write, and that restrict them to their own
/// files.
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// The directory in which pg_dump's tar format creates an unnamed temporary file for every table
/// before it is appended to the archive.
const TAR_SCRATCH: &str = "/tmp";

/// Fails if the largest table does not fit into the free space that a tar dump needs.
pub(crate) async fn expect_space_for_tar(client: &Client) -> Result<()> {
    let largest: u64 = client
        .query("select coalesce(max(pg_table_size(oid)), 0) from pg_catalog.pg_class where relkind in ('r', 'm')")
        .await?;
    let space = rustix::fs::statvfs(TAR_SCRATCH)
        .map_err(|error| Error::io(Stage::Dump, TAR_SCRATCH, "cannot read its free space", error.into()))?;
    let free = space.f_bavail * space.f_frsize;
    if free < largest {
        let message =
            format!("format = \"tar\" needs space for the largest table, {largest} bytes, but {free} are free");
        return Err(Error::new(Stage::Dump, Kind::Failed, TAR_SCRATCH, message)
            .hint("use format = \"custom\", which needs no space and restores as well"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use longshore_core::check::Outcome;

    use super::*;

    fn outcomes(scratch: &Path, bytes: u64) -> Vec<Outcome> {
        findings(scratch, bytes).iter().map(|finding| finding.outcome).collect()
    }

    #[test]
    fn findings_report_an_unsuitable_scratch_dir() {
        let scratch = tempfile::tempdir().unwrap();
        assert_eq!(outcomes(scratch.path(), 1), [Outcome::Good]);
        assert_eq!(outcomes(scratch.path(), u64::MAX), [Outcome::Warning]);
        assert_eq!(outcomes(&scratch.path().join("none"), 1), [Outcome::Failed]);
        fs::set_permissions(scratch.path(), Permissions::from_mode(0o777)).unwrap();
        assert_eq!(outcomes(scratch.path(), 1), [Outcome::Warning, Outcome::Good]);
        fs::set_permissions(scratch.path(), Permissions::from_mode(0o1777)).unwrap();
        assert_eq!(outcomes(scratch.path(), 1), [Outcome::Good]);
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "the check leaves nothing behind");
    }
}
