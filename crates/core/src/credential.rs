//! Credentials passed by the service manager: `credential:NAME` in place of a file's path.
//!
//! systemd copies the files named by `LoadCredential=NAME:…` into a directory that only the unit
//! can read, and passes the directory in `CREDENTIALS_DIRECTORY`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::{Error, Kind, Result, Stage};

/// The prefix of a path that names a credential.
const PREFIX: &str = "credential:";

/// Returns the file that a setting refers to: a credential, or the path itself.
///
/// # Errors
///
/// Fails if the name is not that of a credential, or if the service manager passed no credentials.
pub fn file(setting: &Path) -> Result<PathBuf> {
    resolve(setting, std::env::var_os("CREDENTIALS_DIRECTORY"))
}

/// Returns the same as [`file()`], if a file is set.
///
/// # Errors
///
/// Fails in the same cases as [`file()`].
pub fn optional(setting: Option<&PathBuf>) -> Result<Option<PathBuf>> {
    setting.map(|setting| file(setting)).transpose()
}

fn resolve(setting: &Path, directory: Option<OsString>) -> Result<PathBuf> {
    let Some(name) = setting.to_str().and_then(|text| text.strip_prefix(PREFIX)) else {
        return Ok(setting.to_owned());
    };
    let wrong = |message: &str| Error::new(Stage::Config, Kind::Usage, setting.display().to_string(), message);
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(wrong("invalid credential name").hint("use a name from LoadCredential="));
    }
    match directory.filter(|directory| !directory.is_empty()) {
        Some(directory) => Ok(PathBuf::from(directory).join(name)),
        None => Err(wrong("the service manager passed no credentials: CREDENTIALS_DIRECTORY is not set")
            .hint(format!("add LoadCredential={name}:/path/to/it to the unit, or set the path of a file"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credential_is_a_file_of_the_service_manager() {
        let given = || Some(OsString::from("/run/credentials/longshore@nightly.service"));
        let read = |setting: &str, directory| resolve(Path::new(setting), directory);
        let file = read("credential:s3", given()).unwrap();
        assert_eq!(file, Path::new("/run/credentials/longshore@nightly.service/s3"));
        assert_eq!(read("/etc/longshore/s3", None).unwrap(), Path::new("/etc/longshore/s3"));
        for (setting, directory) in [("credential:s3", None), ("credential:s3", Some(OsString::new()))] {
            let error = read(setting, directory).unwrap_err();
            assert!(error.remedy().unwrap().contains("LoadCredential=s3:"), "{error:?}");
        }
        for leading_elsewhere in ["credential:", "credential:..", "credential:../shadow", "credential:/etc/shadow"] {
            assert_eq!(read(leading_elsewhere, given()).unwrap_err().kind(), Kind::Usage, "{leading_elsewhere}");
        }
    }
}
