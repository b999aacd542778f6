//! Runs the server of a drill in its own namespaces: it has no access to the network, processes,
//! sockets and shared memory of the host, and cannot write files outside of the drill's directory.
//! The mounts vanish with the last process in their namespace.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use longshore_pg_client::child::output;

use crate::mask::{LOCAL_FILE_SYSTEMS, Masks};
use crate::prerequisites::User;

/// The maximum time for testing a namespace on this host.
const TEST_TIMEOUT: Duration = Duration::from_secs(20);

/// The environment variables that the server inherits: the locations of libraries and locales. None
/// of them contains passwords.
const INHERITED_VARIABLES: [&str; 14] = [
    "PATH",
    "LD_LIBRARY_PATH",
    "LOCPATH",
    "LOCALE_ARCHIVE",
    "LOCALE_ARCHIVE_2_27",
    "ICU_DATA",
    "TZDIR",
    "PROJ_DATA",
    "PROJ_LIB",
    "GDAL_DATA",
    "JAVA_HOME",
    "PERL5LIB",
    "PYTHONHOME",
    "PYTHONPATH",
];

/// A path that does not exist.
const NONEXISTENT: &str = "/nonexistent";

/// Prepares the namespaces that `unshare` has created, and runs a command as the server's user.
/// `$1` is the drill's directory, or empty in a test; `$2` the number of directories to hide; `$3`
/// the command; `$4` the types of local file systems; followed by the directories, the sockets to
/// hide, `--`, and the command that switches to the server's user.
///
/// The drill's directory is bound by its inode, for its path is invalid once a parent directory is
/// hidden. The directory becomes a separate mount, since all others are made read-only: a restored
/// function may write files. Network file systems are skipped: one that does not respond would
/// block the drill.
const PREPARE_SCRIPT: &str = r#"
umask 022
folder=$1
hidden=$2
command=$3
local=$4
shift 4
if [ -n "$folder" ]; then cd -- "$folder" || exit 1; fi
while read -r id parent device root point rest; do
  kind=${rest#*- }
  case $local in *" ${kind%% *} "*)
    # A mount below another one is unreachable, and so is no risk.
    mount -n -c -o remount,bind,ro "$(printf %b "$point")" 2>/dev/null
  esac
done </proc/self/mountinfo
while [ "$1" != -- ]; do
  if [ "$hidden" -gt 0 ]; then
    hidden=$((hidden - 1))
    if [ -d "$1" ]; then
      mount -n -t tmpfs -o mode=1777 tmpfs "$1" || exit 1
    fi
  elif [ -S "$1" ]; then
    mount -n --bind /dev/null "$1" || exit 1
  fi
  shift
done
shift
if [ -n "$folder" ]; then
  mkdir -p -- "$folder" && mount -n -c --bind . "$folder" && mount -n -c -o remount,bind,rw "$folder" &&
    cd -- "$folder" || exit 1
fi
# A container may forbid it; other processes cannot be signalled in any case.
mount -n -t proc proc /proc 2>/dev/null
exec "$@" sh -c "$command"
"#;

/// The isolation of a drill's server from the host.
#[derive(Debug, Clone)]
pub(crate) enum Isolation {
    /// Isolated in namespaces, with these masks.
    Namespaces(Masks),
    /// Not isolated, for this reason.
    Missing(String),
}

impl Isolation {
    /// Returns the command line that runs `command`, a shell command, as the server's user.
    /// `folder` is the drill's directory, or nothing in a test.
    pub(crate) fn wrap(&self, folder: Option<&Path>, user: Option<&User>, command: &str) -> Vec<String> {
        let user_switch = user_switch(self, user);
        let Self::Namespaces(masks) = self else {
            return user_switch.into_iter().chain(["sh", "-c", command].map(str::to_owned)).collect();
        };
        let mut words: Vec<String> = vec!["unshare".to_owned()];
        if user.is_none() {
            // Only the root of a user namespace may create the other namespaces.
            words.extend(["--user", "--map-root-user"].map(str::to_owned));
        }
        words.extend(["--net", "--mount", "--ipc", "--pid", "--fork", "--kill-child", "--"].map(str::to_owned));
        words.extend(["sh", "-c", PREPARE_SCRIPT, "longshore-drill"].map(str::to_owned));
        words.push(folder.map(|folder| folder.display().to_string()).unwrap_or_default());
        words.push(masks.folders.len().to_string());
        words.push(command.to_owned());
        words.push(format!(" {} ", LOCAL_FILE_SYSTEMS.join(" ")));
        words.extend(masks.folders.iter().chain(&masks.sockets).map(|path| path.display().to_string()));
        words.push("--".to_owned());
        words.extend(user_switch);
        words
    }

    /// Describes the isolation, as a suffix to the description of a server.
    pub(crate) fn description(&self) -> String {
        match self {
            Self::Namespaces(_) => "in namespaces of its own, without a network".to_owned(),
            Self::Missing(reason) => format!("not isolated: {reason}"),
        }
    }

    /// Returns the server's environment, without variables that may contain a secret or lead libpq
    /// to another server's password.
    pub(crate) fn environment(&self, home: &Path) -> Vec<(String, OsString)> {
        let inherited =
            INHERITED_VARIABLES.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var_os(name)?)));
        let mut all: Vec<_> = inherited.collect();
        let mut set = |name: &str, value: &str| all.push((name.to_owned(), value.into()));
        set("LC_ALL", "C");
        set("TZ", "UTC");
        for name in ["PGPASSFILE", "PGSERVICEFILE", "PGSYSCONFDIR"] {
            set(name, NONEXISTENT);
        }
        if let Self::Missing(_) = self {
            // A connection from within the server fails unless it sets these itself.
            set("PGHOST", NONEXISTENT);
            set("PGREQUIREPEER", "longshore-drill");
            set("PGSSLMODE", "verify-full");
            set("PGSSLROOTCERT", NONEXISTENT);
        }
        all.push(("HOME".to_owned(), home.into()));
        all
    }
}

/// Returns the command that switches to the server's user.
fn user_switch(isolation: &Isolation, user: Option<&User>) -> Vec<String> {
    match (user, isolation) {
        (Some(User { uid, gid }), _) => vec![
            "setpriv".to_owned(),
            format!("--reuid={uid}"),
            format!("--regid={gid}"),
            "--clear-groups".to_owned(),
            "--inh-caps=-all".to_owned(),
            "--no-new-privs".to_owned(),
            "--".to_owned(),
        ],
        (None, Isolation::Missing(_)) => Vec::new(),
        (None, Isolation::Namespaces(_)) => {
            // PostgreSQL refuses to run as root, including the root of a user namespace.
            let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
            vec![
                "unshare".to_owned(),
                "--user".to_owned(),
                format!("--map-user={uid}"),
                format!("--map-group={gid}"),
                "--".to_owned(),
            ]
        }
    }
}

/// Tests the namespaces that this host permits, and hides the existing sockets. `needed` are the
/// directories that the server needs, `sockets` those known to contain another server's socket.
pub(crate) async fn detect(user: Option<&User>, needed: &[PathBuf], sockets: &BTreeSet<PathBuf>) -> Isolation {
    let isolation = Isolation::Namespaces(Masks::find(needed, sockets));
    let words = isolation.wrap(None, user, "exit 0");
    match try_namespaces(&words, isolation.environment(Path::new(NONEXISTENT))).await {
        Ok(()) => isolation,
        Err(reason) => Isolation::Missing(reason),
    }
}

/// Runs an empty command in namespaces, or returns the reason why this fails.
async fn try_namespaces(words: &[String], environment: Vec<(String, OsString)>) -> Result<(), String> {
    let mut command = tokio::process::Command::new(&words[0]);
    command.args(&words[1..]).env_clear().envs(environment);
    command.current_dir("/");
    let exit = match tokio::time::timeout(TEST_TIMEOUT, output(command, "unshare")).await {
        Ok(Ok(exit)) => exit,
        Ok(Err(error)) => return Err(format!("unshare (util-linux) cannot be run: {error}")),
        Err(_) => return Err(format!("unshare did not finish within {} s", TEST_TIMEOUT.as_secs())),
    };
    if exit.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&exit.stderr);
    let last = stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("unshare failed without a message");
    Err(format!("this host permits no namespaces ({})", longshore_core::error::printable(last.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(isolation: &Isolation, folder: Option<&Path>, user: Option<&User>, command: &str) -> (i32, String) {
        let words = isolation.wrap(folder, user, command);
        let exit = std::process::Command::new(&words[0]).args(&words[1..]).output().unwrap();
        let output = String::from_utf8_lossy(&exit.stdout).into_owned() + &String::from_utf8_lossy(&exit.stderr);
        (exit.status.code().unwrap(), output)
    }

    #[tokio::test]
    async fn server_sees_only_its_own_folder() {
        let user = rustix::process::geteuid().is_root().then_some(User { uid: 65534, gid: 65534 });
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("it's here");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("kept"), "").unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&folder, open).unwrap();
        std::fs::write(parent.path().join("hidden"), "").unwrap();
        let elsewhere = tempfile::tempdir_in(std::env::current_dir().unwrap()).unwrap();
        let other = elsewhere.path().join("other.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&other).unwrap();
        let isolation = detect(user.as_ref(), &[], &BTreeSet::new()).await;
        let Isolation::Namespaces(masks) = &isolation else { panic!("{isolation:?}") };
        assert!(masks.sockets.contains(&other.canonicalize().unwrap()), "{masks:?}");
        let command = format!(
            "ls -a '{0}'; ls '{1}'; [ -S '{2}' ] && echo SOCKET; cat /proc/net/route; touch '{1}/own' '{3}/theirs' 2>/dev/null; id -u",
            parent.path().display(),
            folder.display().to_string().replace('\'', r"'\''"),
            other.display(),
            elsewhere.path().display()
        );
        for writable in [folder.as_path(), elsewhere.path()] {
            let anyone = std::os::unix::fs::PermissionsExt::from_mode(0o777);
            std::fs::set_permissions(writable, anyone).unwrap();
        }
        let (code, output) = run(&isolation, Some(&folder), user.as_ref(), &command);
        assert!(folder.join("own").exists() && !elsewhere.path().join("theirs").exists(), "{output}");
        assert!(output.contains("kept") && !output.contains("hidden") && !output.contains("SOCKET"), "{output}");
        assert_eq!(output.lines().filter(|line| line.contains("00000000")).count(), 0, "no route: {output}");
        let uid = user.map_or_else(|| rustix::process::geteuid().as_raw(), |user| user.uid);
        assert_eq!((code, output.lines().last()), (0, Some(uid.to_string().as_str())), "{output}");
    }

    #[tokio::test]
    async fn missing_namespaces_are_explained() {
        let words = Isolation::Missing("unused".to_owned()).wrap(None, None, "exit 3");
        assert_eq!(words, ["sh", "-c", "exit 3"]);
        let failing = |script: &str| ["sh", "-c", script].map(str::to_owned);
        let reason = try_namespaces(&failing("echo 'unshare: Operation not permitted' >&2; exit 1"), Vec::new()).await;
        assert_eq!(reason.unwrap_err(), "this host permits no namespaces (unshare: Operation not permitted)");
        let reason = try_namespaces(&["/nonexistent/unshare".to_owned()], Vec::new()).await.unwrap_err();
        assert!(reason.contains("unshare (util-linux) cannot be run"), "{reason}");
    }

    #[test]
    fn environment_has_no_secrets() {
        let isolation = Isolation::Missing("a test".to_owned());
        let environment = isolation.environment(Path::new("/home"));
        let value = |wanted: &str| environment.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
        assert_eq!(value("HOME"), Some("/home".into()));
        assert_eq!(value("PGPASSFILE"), Some(NONEXISTENT.into()));
        assert_eq!(value("PGPASSWORD"), None);
        assert!(environment.len() <= INHERITED_VARIABLES.len() + 10, "{environment:?}");
    }
}
