//! PostgreSQL's programs, one of whose invocations goes wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use longshore_testkit::cluster::Installation;
use tempfile::TempDir;

/// How an invocation of a program goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Broken {
    /// It fails at once.
    Fails,
    /// It does its work, and fails.
    FailsAfter,
    /// It writes the first bytes of its output, and fails.
    Half,
    /// It writes the first bytes of its output, and ends as if that were all.
    HalfInSilence,
    /// It is killed at once.
    Killed,
    /// It is killed once it has done its work.
    KilledAfter,
    /// It never ends, and does nothing.
    Hangs,
    /// Longshore is killed, and the program never begins.
    LongshoreKilled,
    /// Longshore is killed once the program has done its work.
    LongshoreKilledAfter,
}

impl Broken {
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

    /// Whether Longshore itself dies.
    pub(crate) fn kills_longshore(self) -> bool {
        matches!(self, Self::LongshoreKilled | Self::LongshoreKilledAfter)
    }
}

/// A folder of programs that count their invocations. Each is PostgreSQL's own but for one.
pub(crate) struct Toolbox {
    folder: TempDir,
}

impl Toolbox {
    /// All programs of an installation.
    pub(crate) fn new(installation: &Installation) -> Self {
        let folder = tempfile::Builder::new().prefix("longshore-test-bin-").tempdir().unwrap();
        // Servers of drills run as another user.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        for entry in fs::read_dir(&installation.bin_dir).unwrap() {
            let program = entry.unwrap();
            let script = SCRIPT
                .replace("{folder}", folder.path().to_str().unwrap())
                .replace("{program}", program.path().to_str().unwrap());
            let path = folder.path().join(program.file_name());
            fs::write(&path, script).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let toolbox = Self { folder };
        toolbox.arm(None);
        toolbox
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Forgets the invocations so far, and breaks that of this number, counted from 0; none without.
    pub(crate) fn arm(&self, broken: Option<(usize, Broken)>) {
        let (at, word) = broken.map_or((usize::MAX, String::new()), |(at, broken)| (at, format!("{broken:?}")));
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

/// Counts an invocation under a lock, then is the program, or breaks.
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
