//! The directories of Longshore's own files on this host.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use longshore_config::Config;
use rustix::process::Uid;

/// Returns the folder for locks: the configured one, or the system's folder for files that do not
/// survive a reboot.
pub(crate) fn lock_dir(config: &Config) -> PathBuf {
    config.lock_dir.clone().unwrap_or_else(|| Host::this().lock_dir())
}

/// Returns the folder for state: the configured one, or the system's folder for persistent state.
/// `None` if there is no such folder and the user has no home directory.
pub(crate) fn state_dir(config: &Config) -> Option<PathBuf> {
    config.state_dir.clone().or_else(|| Host::this().state_dir())
}

/// The facts that determine the default folders.
struct Host<'a> {
    user: Uid,
    variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// Returns true if a folder exists and belongs to the user.
    is_own: &'a dyn Fn(&Path) -> bool,
}

impl Host<'_> {
    fn this() -> Self {
        Host {
            user: rustix::process::geteuid(),
            variable: &|name| std::env::var_os(name).filter(|value| !value.is_empty()),
            is_own: &|folder| {
                let found = folder.metadata();
                found.is_ok_and(|found| found.is_dir() && found.uid() == rustix::process::geteuid().as_raw())
            },
        }
    }

    /// Returns systemd's `RuntimeDirectory=`, else `/run/longshore`, else the session's runtime
    /// folder, else a folder in `/tmp`.
    fn lock_dir(&self) -> PathBuf {
        self.unit_dir("RUNTIME_DIRECTORY")
            .or_else(|| self.system_dir("/run/longshore"))
            .or_else(|| self.below("XDG_RUNTIME_DIR", "longshore"))
            .unwrap_or_else(|| PathBuf::from(format!("/tmp/longshore-{}", self.user.as_raw())))
    }

    /// Returns systemd's `StateDirectory=`, else `/var/lib/longshore`, else the user's
    /// state folder.
    fn state_dir(&self) -> Option<PathBuf> {
        self.unit_dir("STATE_DIRECTORY")
            .or_else(|| self.system_dir("/var/lib/longshore"))
            .or_else(|| self.below("XDG_STATE_HOME", "longshore"))
            .or_else(|| self.below("HOME", ".local/state/longshore"))
    }

    /// Returns the first of the folders that systemd made for the unit. Systemd separates
    /// several by colons.
    fn unit_dir(&self, variable: &str) -> Option<PathBuf> {
        let all = (self.variable)(variable)?;
        let first = PathBuf::from(all.to_string_lossy().split(':').next()?.to_owned());
        first.is_absolute().then_some(first)
    }

    /// Returns the system's folder for root, and for the user who owns the folder, so that a manual
    /// run uses the same locks as the unit.
    fn system_dir(&self, folder: &str) -> Option<PathBuf> {
        let folder = PathBuf::from(folder);
        (self.user.is_root() || (self.is_own)(&folder)).then_some(folder)
    }

    fn below(&self, variable: &str, name: &str) -> Option<PathBuf> {
        Some(PathBuf::from((self.variable)(variable)?).join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the folders for locks and for state, for a user with these variables and this own
    /// folder of the system.
    fn dirs(user: u32, variables: &[(&str, &str)], own: &str) -> (String, String) {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name)?;
            Some(OsString::from(found.1))
        };
        let is_own = |folder: &Path| folder == Path::new(own);
        let host = Host { user: Uid::from_raw(user), variable: &variable, is_own: &is_own };
        let text = |folder: PathBuf| folder.display().to_string();
        (text(host.lock_dir()), host.state_dir().map(text).unwrap_or_default())
    }

    #[test]
    fn unit_uses_directories_of_systemd() {
        let unit = [
            ("RUNTIME_DIRECTORY", "/run/backups:/run/other"),
            ("STATE_DIRECTORY", "/var/lib/private/backups:/var/lib/other"),
            ("XDG_RUNTIME_DIR", "/run/user/26"),
            ("XDG_STATE_HOME", "/home/pg/state"),
            ("HOME", "/home/pg"),
        ];
        let expected = ("/run/backups".to_owned(), "/var/lib/private/backups".to_owned());
        assert_eq!(dirs(26, &unit, ""), expected);
        assert_eq!(dirs(0, &unit, ""), expected);
    }

    #[test]
    fn user_without_unit_uses_default_directories() {
        let session = [("XDG_RUNTIME_DIR", "/run/user/26"), ("XDG_STATE_HOME", "/state"), ("HOME", "/home/pg")];
        let two = |lock: &str, state: &str| (lock.to_owned(), state.to_owned());
        assert_eq!(dirs(0, &session, ""), two("/run/longshore", "/var/lib/longshore"));
        assert_eq!(dirs(26, &session, ""), two("/run/user/26/longshore", "/state/longshore"));
        assert_eq!(dirs(26, &session, "/run/longshore"), two("/run/longshore", "/state/longshore"));
        assert_eq!(dirs(26, &session, "/var/lib/longshore").1, "/var/lib/longshore");
        assert_eq!(dirs(26, &session[2..], ""), two("/tmp/longshore-26", "/home/pg/.local/state/longshore"));
        assert_eq!(dirs(26, &[("RUNTIME_DIRECTORY", "relative")], ""), two("/tmp/longshore-26", ""));
    }
}
