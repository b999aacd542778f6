//! Files that contain a secret.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use longshore_core::{Error, Kind, Result, Stage, credential};
use secrecy::SecretString;

/// The maximum size of a file with a secret, in bytes.
const LIMIT_BYTES: u64 = 1 << 20;

/// Reads a secret from a file that other users cannot read. Trailing whitespace is not part of the
/// secret.
pub fn secret(path: &Path) -> Result<SecretString> {
    let path = &*credential::file(path)?;
    let unfit = |kind, message: &str, hint: &str| {
        Err(Error::new(Stage::Config, kind, path.display().to_string(), message).hint(hint))
    };
    let unread = |error| Error::io(Stage::Config, path.display().to_string(), "cannot read the secret file", error);
    let file = File::open(path).map_err(unread)?;
    if file.metadata().map_err(unread)?.permissions().mode() & 0o007 != 0 {
        return unfit(Kind::Refused, "the secret file is world-readable", "run `chmod o= FILE`");
    }
    let mut text = String::new();
    file.take(LIMIT_BYTES).read_to_string(&mut text).map_err(unread)?;
    match text.trim_end() {
        "" => unfit(Kind::Usage, "the secret file is empty", "write only the secret into it"),
        secret => Ok(SecretString::from(secret)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn a_secret_is_one_line_of_a_file_that_not_everybody_may_read() {
        let folder = std::env::temp_dir().join(format!("longshore-secret-{}", std::process::id()));
        fs::write(&folder, "hush\n").unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o640)).unwrap();
        assert_eq!(secrecy::ExposeSecret::expose_secret(&secret(&folder).unwrap()), "hush");
        fs::set_permissions(&folder, Permissions::from_mode(0o644)).unwrap();
        let error = secret(&folder).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(!error.chain().contains("hush"));
        fs::remove_file(&folder).unwrap();
        assert_eq!(secret(&folder).unwrap_err().kind(), Kind::NotFound);
    }
}
