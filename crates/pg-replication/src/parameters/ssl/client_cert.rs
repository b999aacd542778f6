//! The certificate of a client and its private key. Source: `initialize_SSL` in
//! `fe-secure-openssl.c`.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::error::ParameterError;
use super::super::settings::Settings;

/// The certificate of a client (`sslcert`, `sslkey`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCert {
    /// The PEM file of the certificate and its chain, which exists.
    pub cert: PathBuf,
    /// The PEM or DER file of the private key, which exists and which others cannot read.
    pub key: PathBuf,
}

/// Returns the certificate file: `sslcert`, or `~/.postgresql/postgresql.crt`, if the file exists.
pub(super) fn cert(settings: &Settings, folder: Option<&Path>) -> Result<Option<PathBuf>, ParameterError> {
    let default = || folder.map(|folder| folder.join("postgresql.crt"));
    let Some(path) = settings.text("sslcert").map(PathBuf::from).or_else(default) else { return Ok(None) };
    match fs::metadata(&path) {
        Ok(_) => Ok(Some(path)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(source) => Err(ParameterError::Read { keyword: "sslcert", path, source: source.into() }),
    }
}

/// Returns the key file: `sslkey`, or `~/.postgresql/postgresql.key`. Fails if the key is missing
/// or if others can read it.
pub(super) fn key(settings: &Settings, folder: Option<&Path>) -> Result<PathBuf, ParameterError> {
    let keyword = "sslkey";
    let default = || folder.unwrap_or(Path::new("~/.postgresql")).join("postgresql.key");
    let path = settings.text(keyword).map_or_else(default, PathBuf::from);
    let metadata = match fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(ParameterError::File { keyword, path, rule: "does not exist, but its certificate does" });
        }
        Err(source) => return Err(ParameterError::Read { keyword, path, source: source.into() }),
    };
    if !metadata.is_file() {
        return Err(ParameterError::File { keyword, path, rule: "not a regular file" });
    }
    if metadata.mode() & forbidden_bits(metadata.uid()) != 0 {
        let rule = "its group or others have access (use mode 0600, or 0640 if root owns the file)";
        return Err(ParameterError::File { keyword, path, rule });
    }
    Ok(path)
}

/// Returns the mode bits that a key must not have. The group may read a key of root, so that
/// services can share a key of the system.
fn forbidden_bits(owner: u32) -> u32 {
    if owner == 0 { 0o037 } else { 0o077 }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn settings(keyword: &str, path: &Path) -> Settings {
        let keywords = [(keyword.to_owned(), path.to_str().unwrap().to_owned())];
        Settings::merge(keywords, &|_| None).unwrap()
    }

    #[test]
    fn key_that_others_can_read_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("postgresql.key");
        fs::write(&path, "").unwrap();
        let owner = fs::metadata(&path).unwrap().uid();
        for mode in [0o600, 0o400, 0o640, 0o660, 0o650, 0o604, 0o644, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let accepted = match mode {
                0o600 | 0o400 => true,
                0o640 => owner == 0,
                _ => false,
            };
            assert_eq!(key(&Settings::default(), Some(folder.path())).is_ok(), accepted, "{mode:o}");
        }
        assert_eq!((forbidden_bits(0) & 0o040, forbidden_bits(1000) & 0o040), (0, 0o040));
        assert!(matches!(key(&settings("sslkey", folder.path()), None), Err(ParameterError::File { .. })));
    }

    #[test]
    fn missing_certificate_is_none_and_missing_key_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("x");
        assert_eq!(cert(&settings("sslcert", &missing), None).unwrap(), None);
        assert_eq!(cert(&Settings::default(), Some(folder.path())).unwrap(), None);
        assert!(matches!(key(&Settings::default(), Some(folder.path())), Err(ParameterError::File { .. })));
        fs::write(folder.path().join("postgresql.crt"), "").unwrap();
        let found = cert(&Settings::default(), Some(folder.path())).unwrap().unwrap();
        assert_eq!(found, folder.path().join("postgresql.crt"));
    }
}
