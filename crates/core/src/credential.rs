//! Secrets that the service manager hands over: `credential:NAME` in the place of a file's path.
//!
//! systemd puts what `LoadCredential=NAME:…` names into a directory that only the unit can read, and names the directory in
//! `CREDENTIALS_DIRECTORY`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::{Error, Kind, Result, Stage};

/// The prefix of a path that names a credential.
const PREFIX: &str = "credential:";

/// Returns the file that a setting means: a credential's, or the path itself.
///
/// # Errors
///
/// Fails if the credential's name leads elsewhere, or if the service manager handed over none.
pub fn file(setting: &Path) -> Result<PathBuf> {
    resolve(setting, std::env::var_os("CREDENTIALS_DIRECTORY"))
}

/// Returns the same as [`file()`], where a file is set at all.
///
/// # Errors
///
/// Fails where [`file()`] does.
pub fn optional(setting: Option<&PathBuf>) -> Result<Option<PathBuf>> {
    setting.map(|setting| file(setting)).transpose()
}

fn resolve(setting: &Path, directory: Option<OsString>) -> Result<PathBuf> {
    let Some(name) = setting.to_str().and_then(|text| text.strip_prefix(PREFIX)) else {
        return Ok(setting.to_owned());
    };
    let wrong = |message: &str| Error::new(Stage::Config, Kind::Usage, setting.display().to_string(), message);
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(wrong("not the name of a credential").hint("write the name that stands in LoadCredential="));
    }
    match directory.filter(|directory| !directory.is_empty()) {
        Some(directory) => Ok(PathBuf::from(directory).join(name)),
        None => Err(wrong("the service manager handed over no credentials: CREDENTIALS_DIRECTORY is not set")
            .hint(format!("add LoadCredential={name}:/path/to/it to the unit, or write the path of a file instead"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_a_file_of_the_service_manager() {
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
