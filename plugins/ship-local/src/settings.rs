//! The settings and their validation.

use std::path::PathBuf;

use longshore_core::unit::ByteSize;
use longshore_core::{Error, Kind, Result, Stage};
use nix::unistd::{Gid, Group, Uid, User};
use serde::Deserialize;

/// `{ type = "local", … }`: a directory of a local or mounted file system.
///
/// The directory is never created, so that an unmounted disk is detected. This requires a folder on
/// the disk: the mount point itself always exists.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Local {
    /// The absolute path of the directory.
    pub path: PathBuf,
    /// The mode of files, such as `"0600"`.
    #[serde(default = "Mode::file")]
    pub mode: Mode,
    /// The mode of created directories, such as `"0700"`.
    #[serde(default = "Mode::dir")]
    pub dir_mode: Mode,
    /// The owner of created files and directories, a name or a number; only root can set another
    /// user.
    pub owner: Option<String>,
    /// The group of created files and directories, a name or a number.
    pub group: Option<String>,
    /// The space that stays free: writing stops before it is used.
    #[serde(default = "default_min_free")]
    pub min_free: ByteSize,
}

/// Permission bits, written in octal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("pattern" = "^0?[0-7]{3}$"))]
pub struct Mode(u32);

impl Mode {
    fn file() -> Self {
        Self(0o600)
    }

    fn dir() -> Self {
        Self(0o700)
    }

    /// Returns the bits.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let octal = matches!(text.len(), 3 | 4) && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
        match u32::from_str_radix(&text, 8) {
            Ok(bits) if octal && bits <= 0o777 => Ok(Self(bits)),
            _ => Err(format!("\"{text}\" is not a mode: write it in octal, such as \"0600\"")),
        }
    }
}

/// Returns the default of the reserved space.
fn default_min_free() -> ByteSize {
    ByteSize::new(64 << 20)
}

/// The mode and the owner of created files and directories.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Permissions {
    pub(crate) file: u32,
    pub(crate) dir: u32,
    pub(crate) owner: Option<u32>,
    pub(crate) group: Option<u32>,
}

impl Local {
    /// Resolves names to numbers. Fails if the settings are invalid.
    pub(crate) fn permissions(&self) -> Result<Permissions> {
        if !self.path.is_absolute() {
            let path = self.path.display().to_string();
            return Err(usage(path, "path must be absolute", "use an absolute path, such as \"/srv/backups\""));
        }
        if self.mode.0 & 0o400 == 0 || self.dir_mode.0 & 0o700 != 0o700 {
            let found =
                format!("mode {:04o} and dir_mode {:04o} deny access to their own owner", self.mode.0, self.dir_mode.0);
            return Err(usage("mode", found, "grant the owner at least 0400 for files and 0700 for directories"));
        }
        if (self.mode.0 | self.dir_mode.0) & 0o002 != 0 {
            let found = format!("mode {:04o} and dir_mode {:04o} are world-writable", self.mode.0, self.dir_mode.0);
            return Err(usage("mode", found, "remove write permission for others: any user could delete backups"));
        }
        Ok(Permissions {
            file: self.mode.0,
            dir: self.dir_mode.0,
            owner: self.owner.as_deref().map(user).transpose()?,
            group: self.group.as_deref().map(group).transpose()?,
        })
    }
}

fn user(name: &str) -> Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let user = User::from_name(name).map_err(|error| lookup_error(name, error))?;
    user.map(|User { uid, .. }| Uid::as_raw(uid))
        .ok_or_else(|| usage(name, "no user has this name", "check `getent passwd`, or use a number"))
}

fn group(name: &str) -> Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let group = Group::from_name(name).map_err(|error| lookup_error(name, error))?;
    group
        .map(|Group { gid, .. }| Gid::as_raw(gid))
        .ok_or_else(|| usage(name, "no group has this name", "check `getent group`, or use a number"))
}

fn lookup_error(name: &str, error: nix::Error) -> Error {
    Error::new(Stage::Config, Kind::Unavailable, name, "cannot look the name up").because(error)
}

fn usage(subject: impl Into<String>, message: impl Into<String>, hint: &str) -> Error {
    Error::new(Stage::Config, Kind::Usage, subject, message).hint(hint)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(settings: serde_json::Value) -> Result<Local, String> {
        serde_json::from_value(settings).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_private_and_reserve_space() {
        let local = read(json!({ "path": "/srv/backups" })).unwrap();
        let permissions = local.permissions().unwrap();
        assert_eq!((permissions.file, permissions.dir), (0o600, 0o700));
        assert_eq!((permissions.owner, permissions.group), (None, None));
        assert_eq!(local.min_free.bytes(), 64 << 20);
    }

    #[test]
    fn unknown_setting_error_lists_known_settings() {
        let error = read(json!({ "path": "/srv/backups", "pfad": "x" })).unwrap_err();
        assert!(error.contains("pfad") && error.contains("min_free"), "{error}");
    }

    #[test]
    fn accepts_only_octal_modes() {
        assert_eq!(Mode::try_from("0640".to_owned()).unwrap().bits(), 0o640);
        assert_eq!(Mode::try_from("640".to_owned()).unwrap().bits(), 0o640);
        for bad in ["", "6", "0999", "01777", "4755", "rw-r-----", "0o600", "+600", "-600"] {
            let error = Mode::try_from(bad.to_owned()).unwrap_err();
            assert!(error.contains("octal"), "{error}");
        }
    }

    #[test]
    fn invalid_values_are_usage_errors() {
        let path = "/srv/backups";
        for (wrong, subject) in [
            (json!({ "path": "backups" }), "backups"),
            (json!({ "path": path, "mode": "0200" }), "mode"),
            (json!({ "path": path, "dir_mode": "0600" }), "mode"),
            (json!({ "path": path, "dir_mode": "0777" }), "mode"),
            (json!({ "path": path, "owner": "nobody-has-this-name" }), "nobody-has-this-name"),
            (json!({ "path": path, "group": "nobody-has-this-name" }), "nobody-has-this-name"),
        ] {
            let error = read(wrong).unwrap().permissions().unwrap_err();
            assert_eq!((error.kind(), error.subject()), (Kind::Usage, subject));
            assert!(error.remedy().is_some(), "{error}");
        }
    }

    #[test]
    fn accepts_owners_by_name_or_number() {
        let local = read(json!({ "path": "/srv/backups", "owner": "root", "group": "1234" })).unwrap();
        let permissions = local.permissions().unwrap();
        assert_eq!((permissions.owner, permissions.group), (Some(0), Some(1234)));
    }
}
