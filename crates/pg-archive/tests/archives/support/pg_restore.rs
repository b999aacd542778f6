//! The results of pg_restore for an archive, which measure the effect of a damage.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use longshore_testkit::cluster::Installation;
use sha2::{Digest, Sha256};

/// The exit of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Success,
    Failure,
    /// With a crash signal.
    Crash,
    /// Not within the time limit.
    Timeout,
}

/// The output of a restore, and the exit of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Restored {
    pub(crate) exit: Exit,
    /// The digest of the SQL.
    pub(crate) sql: [u8; 32],
}

/// The pg_restore of an installation, with limits of time and memory, since some archives make it
/// use unlimited amounts of both.
#[derive(Debug, Clone)]
pub(crate) struct PgRestore {
    program: PathBuf,
}

impl PgRestore {
    pub(crate) fn of(installation: &Installation) -> Self {
        Self { program: installation.program("pg_restore") }
    }

    /// Lists the contents of the archive.
    pub(crate) fn list(&self, archive: &Path) -> Exit {
        exit_of(&self.run(&["--list"], archive))
    }

    /// Decodes the whole archive, as for a restore.
    pub(crate) fn decode(&self, archive: &Path) -> Restored {
        let output = self.run(&["-f", "-"], archive);
        Restored { exit: exit_of(&output), sql: digest_of(&output.stdout) }
    }

    fn run(&self, arguments: &[&str], archive: &Path) -> Output {
        let mut command = Command::new("timeout");
        // Limiting processor time ends a loop even on a busy machine, and does not end a process
        // that is merely slow.
        command.args(["--signal=KILL", "20", "prlimit", "--cpu=1", "--as=1073741824", "--core=0", "--"]);
        command.arg(&self.program).args(arguments).arg(archive);
        command.output().unwrap()
    }
}

/// Returns the digest of SQL without the key of `\\restrict`, at its beginning and end, which
/// differs in every run.
fn digest_of(sql: &[u8]) -> [u8; 32] {
    let (head, rest) = sql.split_at(sql.len().min(1000));
    let (middle, tail) = rest.split_at(rest.len().saturating_sub(200));
    let is_key = |line: &&[u8]| line.starts_with(b"\\restrict ") || line.starts_with(b"\\unrestrict ");
    let without_key = |lines: &[u8]| {
        let lines = lines.split_inclusive(|byte| *byte == b'\n').filter(|line| !is_key(line));
        lines.flatten().copied().collect::<Vec<u8>>()
    };
    let mut digest = Sha256::new();
    digest.update(without_key(head));
    digest.update(middle);
    digest.update(without_key(tail));
    digest.finalize().into()
}

fn exit_of(output: &Output) -> Exit {
    const KILLED: i32 = 9;
    match (output.status.code(), output.status.signal()) {
        (Some(0), _) => Exit::Success,
        // The limits end the program with this signal. timeout ends with the same signal as its
        // child.
        (Some(_), _) | (_, Some(KILLED)) if output.status.code() != Some(1) => Exit::Timeout,
        (Some(_), _) => Exit::Failure,
        (None, _) => Exit::Crash,
    }
}
