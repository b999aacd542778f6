//! Files that contain a secret.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use secrecy::SecretString;

use crate::{Error, Kind, Result, Stage, credential};

/// The maximum size of a file with a secret, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Reads a secret from a file that other users cannot read. Trailing whitespace is not part of the
/// secret.
pub fn read_secret(path: &Path) -> Result<SecretString> {
    let path = &*credential::file(path)?;
    let invalid = |kind, message: &str, hint: &str| {
        Err(Error::new(Stage::Config, kind, path.display().to_string(), message).hint(hint))
    };
    let read_error = |error| Error::io(Stage::Config, path.display().to_string(), "cannot read the secret file", error);
    let file = File::open(path).map_err(read_error)?;
    if file.metadata().map_err(read_error)?.permissions().mode() & 0o007 != 0 {
        return invalid(Kind::Refused, "the secret file is world-readable", "run `chmod o= FILE`");
    }
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(read_error)?;
    match text.trim_end() {
        "" => invalid(Kind::Usage, "the secret file is empty", "write only the secret into it"),
        secret => Ok(SecretString::from(secret)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn refuses_world_readable_secrets() {
        let file = std::env::temp_dir().join(format!("longshore-secret-{}", std::process::id()));
        fs::write(&file, "hush\n").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        assert_eq!(secrecy::ExposeSecret::expose_secret(&read_secret(&file).unwrap()), "hush");
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        let error = read_secret(&file).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(!error.chain().contains("hush"));
        fs::remove_file(&file).unwrap();
        assert_eq!(read_secret(&file).unwrap_err().kind(), Kind::NotFound);
    }
}
