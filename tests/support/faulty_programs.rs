//! PostgreSQL's programs, with one failing invocation.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use longshore_testkit::cluster::Installation;
use tempfile::TempDir;

/// A failure of a program's invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ProgramFault {
    /// The program fails at once.
    Fails,
    /// The program does its work, then fails.
    FailsAfter,
    /// The program writes the first bytes of its output, then fails.
    Half,
    /// The program writes the first bytes of its output, then reports success.
    HalfInSilence,
    /// The program is killed at once.
    Killed,
    /// The program is killed after its work.
    KilledAfter,
    /// The program hangs without doing anything.
    Hangs,
    /// Longshore is killed, and the program does not start.
    LongshoreKilled,
    /// Longshore is killed after the program's work.
    LongshoreKilledAfter,
}

impl ProgramFault {
    pub(crate) const ALL: [Self; 9] = [
        Self::Fails,
        Self::FailsAfter,
        Self::Half,
        Self::HalfInSilence,
        Self::Killed,
        Self::KilledAfter,
        Self::Hangs,
        Self::LongshoreKilled,
        Self::LongshoreKilledAfter,
    ];

    /// Returns true if this failure kills Longshore itself.
    pub(crate) fn kills_longshore(self) -> bool {
        matches!(self, Self::LongshoreKilled | Self::LongshoreKilledAfter)
    }
}

/// A folder of wrappers that count the invocations of PostgreSQL's programs. At most one invocation
/// fails.
pub(crate) struct FaultyPrograms {
    folder: TempDir,
}

impl FaultyPrograms {
    /// Wraps all programs of an installation.
    pub(crate) fn new(installation: &Installation) -> Self {
        let folder = tempfile::Builder::new().prefix("longshore-test-bin-").tempdir().unwrap();
        // The servers of drills run as another user.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        for entry in fs::read_dir(&installation.bin_dir).unwrap() {
            wrap(&entry.unwrap().path(), folder.path());
        }
        let faulty_programs = Self { folder };
        faulty_programs.arm(None);
        faulty_programs
    }

    /// Wraps another program, which Longshore must find in this folder first.
    pub(crate) fn wrap(&self, program: &Path) {
        wrap(program, self.path());
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Resets the count, and sets the invocation to fail, by its number from 0. `None` sets no
    /// failure.
    pub(crate) fn arm(&self, fault: Option<(usize, ProgramFault)>) {
        let (at, word) = fault.map_or((usize::MAX, String::new()), |(at, fault)| (at, format!("{fault:?}")));
        for (name, content) in [("calls", String::new()), ("at", at.to_string()), ("broken", word)] {
            let path = self.file(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        }
    }

    /// Returns the invocations so far: each program's name, with its first arguments.
    pub(crate) fn calls(&self) -> Vec<String> {
        fs::read_to_string(self.file("calls")).unwrap().lines().map(str::to_owned).collect()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!(".{name}"))
    }
}

fn wrap(program: &Path, folder: &Path) {
    let script = SCRIPT.replace("{folder}", folder.to_str().unwrap()).replace("{program}", program.to_str().unwrap());
    let path = folder.join(program.file_name().unwrap());
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A script that counts an invocation under a lock, then runs the program or fails.
const SCRIPT: &str = r#"#!/bin/bash
exec 9>>'{folder}/.calls'
flock 9
number=$(wc -l < '{folder}/.calls')
echo "${0##*/} ${*:1:2}" | tr '\n' ' ' >&9
echo >&9
exec 9>&-
[ "$number" = "$(cat '{folder}/.at')" ] || exec '{program}' "$@"
kill_longshore() {
    process=$$
    while [ "$process" -gt 1 ] && [ "$(cat /proc/$process/comm)" != longshore ]; do
        process=$(sed 's/.*) . //' /proc/$process/stat | cut -d ' ' -f 1)
    done
    [ "$process" -gt 1 ] && kill -9 "$process"
}
case $(cat '{folder}/.broken') in
    Fails) echo 'injected failure' >&2; exit 1 ;;
    FailsAfter) '{program}' "$@"; exit 1 ;;
    Half) '{program}' "$@" | head -c 300; exit 1 ;;
    HalfInSilence) '{program}' "$@" | head -c 300; exit 0 ;;
    Killed) kill -9 $$ ;;
    KilledAfter) '{program}' "$@"; kill -9 $$ ;;
    Hangs) exec sleep 600 ;;
    LongshoreKilled) kill_longshore; exit 1 ;;
    LongshoreKilledAfter) '{program}' "$@"; kill_longshore; exit 1 ;;
esac
"#;
