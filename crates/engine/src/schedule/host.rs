//! The files of systemd and cron on this host, or below another root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use chrono_tz::Tz;

/// The folders of system units, the first ones preferred.
const SYSTEM_UNITS: [&str; 5] = [
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];
/// The folders of the units of all users' managers.
const USER_UNITS: [&str; 2] = ["etc/systemd/user", "usr/lib/systemd/user"];
/// The folders of scripts that cron runs.
const CRON_SCRIPTS: [&str; 4] = ["etc/cron.hourly", "etc/cron.daily", "etc/cron.weekly", "etc/cron.monthly"];
/// The folders of users' crontabs, readable only by root.
const CRONTABS: [&str; 2] = ["var/spool/cron/crontabs", "var/spool/cron"];
/// The maximum size of a file to read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// A host whose files are examined or changed.
#[derive(Debug, Clone)]
pub struct Host {
    root: PathBuf,
    /// The home directory of the user.
    home: Option<PathBuf>,
    is_live: bool,
}

/// A unit that is enabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EnabledTimer {
    /// The name of the timer, such as `longshore-run@nightly.timer`.
    pub(super) name: String,
    /// The command lines of the service that the timer starts.
    pub(super) commands: Vec<String>,
}

impl Host {
    /// Returns this host.
    pub fn this() -> Self {
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        Self { root: PathBuf::from("/"), home, is_live: true }
    }

    /// Returns the host whose files are below a folder, such as a mounted image: its programs are
    /// not started.
    pub fn below(root: PathBuf) -> Self {
        Self { root, home: None, is_live: false }
    }

    /// Returns true for this host, false for one below a folder.
    pub fn is_live(&self) -> bool {
        self.is_live
    }

    /// Returns a path of this host.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Returns the folder of units that the user's manager reads.
    pub(super) fn user_units(&self) -> Option<PathBuf> {
        let config = std::env::var_os("XDG_CONFIG_HOME").filter(|config| !config.is_empty()).map(PathBuf::from);
        let config = config.filter(|_| self.is_live).or_else(|| Some(self.home.as_ref()?.join(".config")))?;
        Some(config.join("systemd/user"))
    }

    /// Returns true if systemd runs this host.
    pub(crate) fn has_systemd(&self) -> bool {
        self.path("run/systemd/system").is_dir()
    }

    /// Returns the time zone of the host's clock, which cron uses: UTC if there is none.
    pub(super) fn zone(&self) -> Option<Tz> {
        let link = self.path("etc/localtime");
        if fs::symlink_metadata(&link).is_err() {
            return Some(Tz::UTC);
        }
        let of_link = || {
            let target = fs::read_link(&link).ok()?;
            target.to_str()?.split_once("zoneinfo/")?.1.parse().ok()
        };
        of_link().or_else(|| read(&self.path("etc/timezone"))?.trim().parse().ok())
    }

    /// Returns the crontab of the user, empty if there is none. `None` if there is no cron.
    pub(super) fn crontab(&self) -> Option<Vec<u8>> {
        if !self.is_live {
            return None;
        }
        let mut command = Command::new("crontab");
        let output = command.arg("-l").env("LC_ALL", "C").stdin(Stdio::null()).output().ok()?;
        // Without a crontab, the program fails.
        Some(if output.status.success() { output.stdout } else { Vec::new() })
    }

    /// Returns the enabled timers of the system and of the user.
    pub(super) fn enabled_timers(&self) -> Vec<EnabledTimer> {
        let system: Vec<PathBuf> = SYSTEM_UNITS.iter().map(|folder| self.path(folder)).collect();
        let user: Vec<PathBuf> =
            self.user_units().into_iter().chain(USER_UNITS.iter().map(|folder| self.path(folder))).collect();
        [system, user].iter().flat_map(|folders| enabled_timers(folders)).collect()
    }

    /// Returns the lines of cron, each with its file.
    pub(super) fn cron_lines(&self) -> Vec<(String, String)> {
        let mut files = vec![self.path("etc/crontab")];
        for folder in ["etc/cron.d"].iter().chain(&CRON_SCRIPTS).chain(&CRONTABS) {
            files.extend(names(&self.path(folder)).into_iter().map(|name| self.path(folder).join(name)));
        }
        let mut texts: Vec<(String, String)> =
            files.iter().filter_map(|file| Some((file.display().to_string(), read(file)?))).collect();
        // Root has read the crontabs of all users.
        if !rustix::process::geteuid().is_root() {
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            texts.extend(self.crontab().map(|bytes| ("crontab".to_owned(), text(bytes))));
        }
        let lines = |(file, text): (String, String)| {
            let lines: Vec<_> = text.lines().map(|line| (file.clone(), line.trim().to_owned())).collect();
            lines
        };
        texts.into_iter().flat_map(lines).filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).collect()
    }
}

/// Returns the names of the files in a folder, sorted; none if the folder cannot be read.
pub(super) fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Reads a small file; `None` if it cannot be read.
pub(super) fn read(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    let bytes = fs::read(path).ok().filter(|_| metadata.is_file() && metadata.len() <= MAX_BYTES)?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn enabled_timers(folders: &[PathBuf]) -> Vec<EnabledTimer> {
    let mut found: Vec<EnabledTimer> = Vec::new();
    for folder in folders {
        for wants in names(folder).iter().filter(|name| name.ends_with(".wants")) {
            for name in names(&folder.join(wants)).into_iter().filter(|name| name.ends_with(".timer")) {
                if found.iter().all(|timer| timer.name != name) {
                    let commands = commands(folders, &name);
                    found.push(EnabledTimer { name, commands });
                }
            }
        }
    }
    found
}

/// Returns the command lines of the service that a timer starts.
fn commands(folders: &[PathBuf], timer: &str) -> Vec<String> {
    let Some(text) = unit(folders, timer) else { return Vec::new() };
    let own = timer.strip_suffix(".timer").unwrap_or(timer);
    let service = values(&text, "Unit").pop().unwrap_or_else(|| format!("{own}.service"));
    let Some(text) = unit(folders, &service) else { return Vec::new() };
    let instance = service.split_once('@').map(|(_, rest)| rest.strip_suffix(".service").unwrap_or(rest));
    let command = |line: String| {
        let line = line.trim_start_matches(['@', '-', ':', '+', '!']).to_owned();
        let instance = instance.unwrap_or_default();
        line.replace("%i", instance).replace("%I", instance).replace("%%", "%")
    };
    values(&text, "ExecStart").into_iter().map(command).collect()
}

/// Reads a unit, or the template of an instance.
fn unit(folders: &[PathBuf], name: &str) -> Option<String> {
    let template = || {
        let (template, instance) = name.split_once('@')?;
        Some(format!("{template}@.{}", instance.rsplit_once('.')?.1))
    };
    let read_first = |name: &str| folders.iter().find_map(|folder| read(&folder.join(name)));
    read_first(name).or_else(|| read_first(&template()?))
}

/// Returns the values of a setting in a unit. An empty value removes the values before it.
fn values(text: &str, setting: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    let of_setting = lines.filter_map(|line| line.split_once('=').filter(|(name, _)| name.trim() == setting));
    of_setting.fold(Vec::new(), |mut all, (_, value)| {
        match value.trim() {
            "" => all.clear(),
            value => all.push(value.to_owned()),
        }
        all
    })
}
