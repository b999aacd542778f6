//! Secrets in files of their own.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use longshore_core::{Error, Kind, Result, Stage, credential};
use secrecy::SecretString;

/// The most bytes that a file of secrets may have.
const LIMIT_BYTES: u64 = 1 << 20;

/// Reads a secret from a file that not everybody may read; the end of its line is not part of it.
pub fn secret(path: &Path) -> Result<SecretString> {
    let path = &*credential::file(path)?;
    let unfit = |kind, message: &str, hint: &str| {
        Err(Error::new(Stage::Config, kind, path.display().to_string(), message).hint(hint))
    };
    let unread = |error| Error::io(Stage::Config, path.display().to_string(), "cannot read the file of secrets", error);
    let file = File::open(path).map_err(unread)?;
    if file.metadata().map_err(unread)?.permissions().mode() & 0o007 != 0 {
        return unfit(Kind::Refused, "everybody on this host may read these secrets", "take that away: chmod o= FILE");
    }
    let mut text = String::new();
    file.take(LIMIT_BYTES).read_to_string(&mut text).map_err(unread)?;
    match text.trim_end() {
        "" => unfit(Kind::Usage, "the file of secrets is empty", "write the secret into it, and nothing else"),
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
