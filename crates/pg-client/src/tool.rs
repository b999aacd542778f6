//! Discovery of PostgreSQL's client programs. A dump program must not be older than its server.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use longshore_core::error::printable;
use longshore_core::{Error, Kind, Result, Stage};
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::child::output;

/// The folder of Debian's client programs, by major version: `15/bin` and so on.
const VERSIONED_DIR: &str = "/usr/lib/postgresql";

/// The time that a program may take to report its version.
const VERSION_TIMEOUT: Duration = Duration::from_secs(10);

/// The variable that contains the passphrase of the identity, which decrypts backups.
const PASSPHRASE: &str = "LONGSHORE_IDENTITY_PASSPHRASE";

/// A version of PostgreSQL, such as 17.4.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The major version: 17. Before PostgreSQL 10, the first of the two parts of the major
    /// version.
    pub major: u32,
    /// The minor version: 4.
    pub minor: u32,
    text: String,
}

impl Version {
    /// Parses a version at the beginning of `text`, such as `17.4 (Debian 17.4-1)` or `18beta1`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.split_whitespace().next()?;
        let mut numbers = text.split(|char: char| !char.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
        let major = numbers.next().filter(|major| *major > 0)?;
        Some(Self { major, minor: numbers.next().unwrap_or(0), text: text.to_owned() })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A client program that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// The program's name, such as `pg_dump`.
    pub name: &'static str,
    /// The program's path.
    pub path: PathBuf,
    /// The program's version.
    pub version: Version,
}

impl Tool {
    /// Returns the warning for a dump of a server with an older major version than this tool's. For
    /// example, scripts since 17 set `transaction_timeout`, which older servers do not have.
    pub fn warning(&self, server: &Version) -> Option<String> {
        let Version { major, .. } = self.version;
        (major > server.major).then(|| {
            format!(
                "{} {} is newer than the server, which is {server}: its dump may not restore into a server older than PostgreSQL {major}",
                self.name, self.version
            )
        })
    }
}

impl From<&Tool> for longshore_core::manifest::Tool {
    fn from(tool: &Tool) -> Self {
        Self { name: tool.name.to_owned(), version: tool.version.to_string() }
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.name, self.version, self.path.display())
    }
}

/// The discovery of programs. Each program is queried for its version once.
#[derive(Debug, Default)]
pub struct Toolbox {
    bin_dir: Option<PathBuf>,
    versions: Mutex<BTreeMap<PathBuf, Arc<OnceCell<Version>>>>,
}

impl Toolbox {
    /// Creates a toolbox that searches only `bin_dir` if set, else `PATH` and Debian's folders of
    /// every major version.
    pub fn new(bin_dir: Option<&Path>) -> Self {
        Self { bin_dir: bin_dir.map(Path::to_owned), versions: Mutex::default() }
    }

    /// Finds a program. With a server version, prefers the server's major, then the nearest newer
    /// major, and in it the newest version. Without one, finds the newest program.
    pub async fn find(&self, name: &'static str, server: Option<&Version>) -> Result<Tool> {
        let bin_dir = self.bin_dir.as_deref();
        let tools = candidates(name, bin_dir).into_iter().map(|path| async {
            match self.version(&path).await {
                Ok(version) => Ok(Tool { name, path, version }),
                Err(reason) => Err(BrokenTool { path, reason }),
            }
        });
        let (mut found, mut broken) = (Vec::new(), Vec::new());
        for tool in join_all(tools).await {
            match tool {
                Ok(tool) => found.push(tool),
                Err(tool) => broken.push(tool),
            }
        }
        choose(found, server).map_err(|found| missing(name, server, bin_dir, &found, &broken))
    }

    /// Returns the version of a program. A program that failed to answer is queried again the next
    /// time, since its installation may be in progress.
    async fn version(&self, path: &Path) -> Result<Version, String> {
        let cell = {
            let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(versions.entry(path.to_owned()).or_default())
        };
        cell.get_or_try_init(|| version_of(path)).await.cloned()
    }
}

/// A program that exists and cannot be used, and the reason.
#[derive(Debug)]
struct BrokenTool {
    path: PathBuf,
    reason: String,
}

/// Returns the tool to use or, if none is suitable, all tools.
fn choose(mut found: Vec<Tool>, server: Option<&Version>) -> Result<Tool, Vec<Tool>> {
    // The sort is stable, so that the first tool in search order wins among equals.
    found.sort_by(|a, b| b.version.cmp(&a.version));
    let Some(server) = server else {
        return if found.is_empty() { Err(found) } else { Ok(found.swap_remove(0)) };
    };
    // The larger the distance between the majors, the less of the output the server understands.
    // The first tool of the nearest major is its newest.
    let fits = found.iter().map(|tool| tool.version.major).filter(|major| *major >= server.major);
    let nearest = fits.min();
    match found.iter().position(|tool| Some(tool.version.major) == nearest) {
        Some(index) => Ok(found.swap_remove(index)),
        None => Err(found),
    }
}

fn candidates(name: &str, bin_dir: Option<&Path>) -> Vec<PathBuf> {
    let folders: Vec<PathBuf> = match bin_dir {
        Some(bin_dir) => vec![bin_dir.to_owned()],
        None => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let versioned = std::fs::read_dir(VERSIONED_DIR).into_iter().flatten().flatten();
            std::env::split_paths(&path).chain(versioned.map(|version| version.path().join("bin"))).collect()
        }
    };
    let mut seen = BTreeSet::new();
    let programs = folders.into_iter().map(|folder| folder.join(name)).filter(|path| path.is_file());
    // Debian's wrapper chooses a version by its own rules. The search finds the programs behind the
    // wrapper.
    let direct =
        |path: &PathBuf| path.canonicalize().is_ok_and(|real| !real.ends_with("pg_wrapper") && seen.insert(real));
    programs.filter(direct).collect()
}

/// Returns a command whose child does not inherit the passphrase.
pub fn command(path: &Path) -> Command {
    let mut command = Command::new(path);
    command.env_remove(PASSPHRASE);
    command
}

/// Returns the version that a program reports, or the reason why it reports none.
async fn version_of(path: &Path) -> Result<Version, String> {
    let mut command = command(path);
    command.arg("--version");
    let answer = tokio::time::timeout(VERSION_TIMEOUT, output(command, &path.display().to_string())).await;
    let answer = answer.map_err(|_| format!("did not report its version within {} s", VERSION_TIMEOUT.as_secs()))?;
    let output = answer.map_err(|error| error.to_string())?;
    // "pg_dump (PostgreSQL) 17.4 (Debian 17.4-1)"
    let stdout = String::from_utf8_lossy(&output.stdout);
    stdout.split_once(") ").and_then(|(_, version)| Version::parse(version)).ok_or_else(|| {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let stderr = stderr.trim().lines().next_back().unwrap_or_default();
        format!(
            "--version ended with {}{}{}",
            output.status,
            if stderr.is_empty() { "" } else { ": " },
            printable(stderr)
        )
    })
}

fn missing(
    name: &str,
    server: Option<&Version>,
    bin_dir: Option<&Path>,
    found: &[Tool],
    broken: &[BrokenTool],
) -> Error {
    // Repairing an installed program is easier than installing another.
    if let ([], [BrokenTool { path, reason }, ..]) = (found, broken) {
        let message = format!("{} cannot be run", path.display());
        return Error::new(Stage::Config, Kind::Failed, name, message)
            .hint("check that the program is executable and its libraries are installed: run it with --version")
            .because(reason.clone());
    }
    let location = bin_dir
        .map_or_else(|| "on PATH or below /usr/lib/postgresql".to_owned(), |dir| format!("in {}", dir.display()));
    let Some(server) = server else {
        return Error::new(Stage::Config, Kind::NotFound, name, format!("not found {location}"))
            .hint("install PostgreSQL's client programs (Debian: apt-get install postgresql-client), or set bin_dir");
    };
    let major = server.major;
    let hint = format!(
        "install the client programs of PostgreSQL {major} or newer (Debian: apt-get install postgresql-client-{major}), or set bin_dir to their folder"
    );
    let message = match found {
        [] => format!("not found {location}"),
        [newest, ..] => {
            format!("{} is older than the server, which is {server}: the program would refuse to dump", newest)
        }
    };
    Error::new(Stage::Config, Kind::NotFound, name, message).hint(hint)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tools(versions: &[&str]) -> Vec<Tool> {
        let tool =
            |version: &&str| Tool { name: "pg_dump", path: version.into(), version: Version::parse(version).unwrap() };
        versions.iter().map(tool).collect()
    }

    fn chosen_version(versions: &[&str], server: &str) -> Option<String> {
        let tool = choose(tools(versions), Version::parse(server).as_ref()).ok()?;
        Some(tool.version.to_string())
    }

    #[test]
    fn versions_are_parsed() {
        let read = |text| Version::parse(text).map(|version| (version.major, version.to_string()));
        assert_eq!(read("15.18 (Debian 15.18-0+deb12u1)"), Some((15, "15.18".into())));
        assert_eq!(read("19beta1"), Some((19, "19beta1".into())));
        assert_eq!(read("none"), None);
    }

    #[test]
    fn nearest_major_is_chosen() {
        assert_eq!(chosen_version(&["17.2", "15.1", "15.18", "16.3"], "15.4"), Some("15.18".into()));
        assert_eq!(chosen_version(&["14.9", "16.3", "17.2"], "15.4"), Some("16.3".into()));
        assert_eq!(chosen_version(&["18.0", "17.2", "17.4"], "16.3"), Some("17.4".into()));
        assert_eq!(chosen_version(&["14.9", "13.2"], "15.4"), None);
        assert_eq!(choose(tools(&["14.9", "17.2"]), None).unwrap().version.major, 17);
    }

    #[test]
    fn newer_tool_has_a_warning() {
        let warning = |server| tools(&["17.2"])[0].warning(&Version::parse(server).unwrap());
        assert!(warning("16.3").unwrap().contains("pg_dump 17.2 is newer than the server, which is 16.3"));
        assert_eq!(warning("17.4"), None);
    }

    #[test]
    fn commands_do_not_inherit_the_passphrase() {
        let command = command(Path::new("pg_dump"));
        assert!(command.as_std().get_envs().any(|variable| variable == (PASSPHRASE.as_ref(), None)));
    }

    #[tokio::test]
    async fn missing_tool_has_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let server = Version::parse("17.1").unwrap();
        let toolbox = Toolbox::new(Some(folder.path()));
        let error = toolbox.find("pg_dump", Some(&server)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        assert!(error.remedy().unwrap().contains("postgresql-client-17"));
    }

    #[tokio::test]
    async fn broken_tool_is_reported_with_the_reason() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pg_dump");
        for (script, mode, reason) in [
            ("#!/bin/sh\nexit 0\n", 0o600, "Permission denied"),
            ("#!/nowhere/sh\n", 0o700, "No such file"),
            (
                "#!/bin/sh\necho 'error while loading libpq.so.5' >&2; exit 127\n",
                0o700,
                "exit status: 127: error while",
            ),
        ] {
            // Written by a child process: a concurrently forked child of this process could hold
            // the file open for writing when the file is executed.
            let mut writing = std::process::Command::new("sh");
            writing.args(["-c", "printf %s \"$1\" > \"$0\""]).arg(&path).arg(script);
            assert!(writing.status().unwrap().success());
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = Toolbox::new(Some(folder.path())).find("pg_dump", None).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Failed);
            assert!(error.to_string().contains(&format!("{} cannot be run", path.display())), "{error}");
            assert!(error.chain().contains(reason), "{}", error.chain());
        }
    }

    /// Writes a `pg_dump` that logs each call in a file, and answers once `gate` exists. Returns
    /// the path of the log.
    fn program(folder: &Path, gate: &Path) -> PathBuf {
        let (path, call_log) = (folder.join("pg_dump"), folder.join("asked"));
        let script = format!(
            "#!/bin/sh\necho >> '{}'\nwhile ! [ -e '{}' ]; do sleep 0.01; done\necho 'pg_dump (PostgreSQL) 17.4'\n",
            call_log.display(),
            gate.display()
        );
        // Written by a child process: a concurrently forked child of this process could hold the
        // file open for writing when the file is executed.
        let mut writing = std::process::Command::new("sh");
        writing.args(["-c", "printf %s \"$1\" > \"$0\" && chmod 700 \"$0\""]).arg(&path).arg(script);
        assert!(writing.status().unwrap().success());
        call_log
    }

    #[tokio::test]
    async fn version_is_queried_once_per_tool() {
        let folder = tempfile::tempdir().unwrap();
        let toolbox = Toolbox::new(Some(folder.path()));
        toolbox.find("pg_dump", None).await.unwrap_err();
        let call_log = program(folder.path(), folder.path());
        let older = Version::parse("16.3");
        let (one, other) = tokio::join!(toolbox.find("pg_dump", None), toolbox.find("pg_dump", older.as_ref()));
        assert_eq!((one.unwrap().version.minor, other.unwrap().version.minor), (4, 4));
        toolbox.find("pg_dump", None).await.unwrap();
        assert_eq!(fs::read_to_string(call_log).unwrap(), "\n");
    }

    #[tokio::test]
    async fn version_is_queried_again_after_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        let toolbox = Toolbox::new(Some(folder.path()));
        fs::write(folder.path().join("pg_dump"), "not yet a program").unwrap();
        toolbox.find("pg_dump", None).await.unwrap_err();
        fs::remove_file(folder.path().join("pg_dump")).unwrap();
        let gate = folder.path().join("gate");
        program(folder.path(), &gate);
        let cut = tokio::time::timeout(Duration::from_millis(50), toolbox.find("pg_dump", None)).await;
        assert!(cut.is_err(), "it was dropped while it was asked");
        fs::write(gate, "").unwrap();
        assert_eq!(toolbox.find("pg_dump", None).await.unwrap().version.major, 17);
    }
}
