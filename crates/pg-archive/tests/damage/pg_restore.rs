//! What pg_restore says of an archive: the measure of what a damage does.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use longshore_testkit::cluster::Installation;
use sha2::{Digest, Sha256};

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Well,
    WithAnError,
    /// By a signal that it did not expect.
    WithACrash,
    /// Not by itself, within all the time that it had.
    Never,
}

/// What it made, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Restored {
    pub(crate) exit: Exit,
    /// The digest of the SQL.
    pub(crate) sql: [u8; 32],
}

/// The one of an installation. It gets little time and memory: there are archives on which it asks for no end of both.
#[derive(Debug, Clone)]
pub(crate) struct PgRestore {
    program: PathBuf,
}

impl PgRestore {
    pub(crate) fn of(installation: &Installation) -> Self {
        Self { program: installation.program("pg_restore") }
    }

    /// Whether it lists what is in the archive.
    pub(crate) fn list(&self, archive: &Path) -> Exit {
        exit_of(&self.run(&["--list"], archive))
    }

    /// Decodes all of the archive, as for a restore.
    pub(crate) fn decode(&self, archive: &Path) -> Restored {
        let output = self.run(&["-f", "-"], archive);
        Restored { exit: exit_of(&output), sql: digest_of(&output.stdout) }
    }

    fn run(&self, arguments: &[&str], archive: &Path) -> Output {
        let mut command = Command::new("timeout");
        // Processor seconds end a loop even on a machine that does much else, and spare one that is only slow.
        command.args(["--signal=KILL", "20", "prlimit", "--cpu=1", "--as=1073741824", "--core=0", "--"]);
        command.arg(&self.program).args(arguments).arg(archive);
        command.output().unwrap()
    }
}

/// The digest of SQL, without the key of `\\restrict`, which is another one in every run, at its beginning and its end.
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
        (Some(0), _) => Exit::Well,
        // The limits end it with this signal; and timeout, which itself ends with the signal that its child ended with.
        (Some(_), _) | (_, Some(KILLED)) if output.status.code() != Some(1) => Exit::Never,
        (Some(_), _) => Exit::WithAnError,
        (None, _) => Exit::WithACrash,
    }
}
