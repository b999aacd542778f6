//! Passwords, and the password file `.pgpass`. Source: `passwordFromFile` in `fe-connect.c`, and
//! PostgreSQL's documentation of libpq, "The Password File".

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use super::error::ParameterError;

/// A password and its source.
#[derive(Debug, Clone)]
pub struct Password {
    /// The password, never empty.
    pub secret: SecretString,
    /// The source of the password.
    pub source: PasswordSource,
}

/// The source of a password, for errors of authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordSource {
    /// The caller, the connection string, the service file or `PGPASSWORD`.
    Setting,
    /// A password file.
    File(PathBuf),
}

/// The content of a password file.
pub(super) struct Passfile {
    path: PathBuf,
    content: Zeroizing<Vec<u8>>,
}

/// The fields that a line is compared with.
pub(super) struct Wanted<'a> {
    /// The names of the host, each of which matches.
    pub(super) hosts: &'a [&'a str],
    pub(super) port: u16,
    pub(super) database: &'a str,
    pub(super) user: &'a str,
}

impl Passfile {
    /// Reads a password file. An error is a reason to ignore the file, as libpq does.
    pub(super) fn read(path: &Path) -> Result<Self, ParameterError> {
        let keyword = "passfile";
        let fail = |rule| ParameterError::File { keyword, path: path.to_owned(), rule };
        let cannot_read =
            |source: io::Error| ParameterError::Read { keyword, path: path.to_owned(), source: source.into() };
        // Opening a FIFO would wait for its writer.
        if !path.metadata().map_err(cannot_read)?.is_file() {
            return Err(fail("ignored, because it is not a regular file"));
        }
        let mut file = File::open(path).map_err(cannot_read)?;
        if file.metadata().map_err(cannot_read)?.mode() & 0o077 != 0 {
            return Err(fail("ignored, because its group or others have access (use mode 0600)"));
        }
        let mut content = Zeroizing::new(Vec::new());
        file.read_to_end(&mut content).map_err(cannot_read)?;
        Ok(Self { path: path.to_owned(), content })
    }

    /// Returns the password of the first line that matches.
    pub(super) fn password(&self, wanted: &Wanted<'_>) -> Option<Password> {
        let rest = self.content.split(|byte| *byte == b'\n').find_map(|line| matching(line, wanted))?;
        let password = Zeroizing::new(unescape(rest));
        // A password that is not UTF-8 cannot be prepared for SCRAM, and is none here.
        let text = std::str::from_utf8(&password).ok().filter(|text| !text.is_empty())?;
        Some(Password { secret: text.into(), source: PasswordSource::File(self.path.clone()) })
    }
}

/// Returns the rest of a line after the four fields, if the fields match.
fn matching<'a>(line: &'a [u8], wanted: &Wanted<'_>) -> Option<&'a [u8]> {
    let end = line.iter().rposition(|byte| *byte != b'\r').map_or(0, |last| last.saturating_add(1));
    let line = line.get(..end)?;
    if line.starts_with(b"#") {
        return None;
    }
    let rest = wanted.hosts.iter().find_map(|host| field(line, host.as_bytes()))?;
    let rest = field(rest, wanted.port.to_string().as_bytes())?;
    let rest = field(rest, wanted.database.as_bytes())?;
    field(rest, wanted.user.as_bytes())
}

/// Returns the text after a field and its colon, if the field is `*` or equals the text that is
/// wanted. A backslash escapes the next character.
fn field<'a>(text: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    if let Some(rest) = text.strip_prefix(b"*:") {
        return Some(rest);
    }
    let (mut text, mut wanted) = (text, wanted);
    loop {
        let (escaped, first, rest) = match text {
            [b'\\', first, rest @ ..] => (true, *first, rest),
            [first, rest @ ..] => (false, *first, rest),
            [] => return None,
        };
        match wanted.split_first() {
            None => return (first == b':' && !escaped).then_some(rest),
            Some((byte, tail)) if *byte == first => (text, wanted) = (rest, tail),
            Some(_) => return None,
        }
    }
}

/// Returns a password without its escapes, up to a colon.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut password = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b':' => break,
            b'\\' => password.push(bytes.next().unwrap_or(b'\\')),
            byte => password.push(byte),
        }
    }
    password
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use secrecy::ExposeSecret;

    use super::*;

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".pgpass");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    fn lookup(text: &str, host: &str, port: u16, database: &str, user: &str) -> Option<String> {
        let (_folder, path) = file(text, 0o600);
        let password = Passfile::read(&path).unwrap().password(&Wanted { hosts: &[host], port, database, user })?;
        assert_eq!(password.source, PasswordSource::File(path));
        Some(password.secret.expose_secret().to_owned())
    }

    #[test]
    fn first_matching_line_has_the_password() {
        let text = "# db1:5432:shop:bob:no\ndb2:*:*:bob:other\r\ndb1:5432:sh\\:op:*:pa\\\\ss\\:word\n*:*:*:bob:any\n";
        assert_eq!(lookup(text, "db1", 5432, "sh:op", "eve").as_deref(), Some("pa\\ss:word"));
        assert_eq!(lookup(text, "db1", 5432, "x", "bob").as_deref(), Some("any"));
        assert_eq!(lookup(text, "db2", 1, "x", "bob").as_deref(), Some("other"));
        assert_eq!(lookup(text, "db1", 5432, "x", "eve"), None);
    }

    #[test]
    fn line_without_newline_matches() {
        assert_eq!(lookup("::1:5432:*:*:short\nh:1:replication:u:p:rest", "h", 1, "replication", "u").unwrap(), "p");
        assert_eq!(lookup("\\:\\:1:5432:*:*:p", "::1", 5432, "d", "u").unwrap(), "p");
        assert_eq!(lookup("h:1:d:u", "h", 1, "d", "u"), None);
    }

    #[test]
    fn escaped_star_is_no_wildcard() {
        assert_eq!(lookup("\\*:*:*:*:p", "h", 1, "d", "u"), None);
        assert_eq!(lookup("\\*:*:*:*:p", "*", 1, "d", "u").unwrap(), "p");
        assert_eq!(lookup("h*:*:*:*:p", "h", 1, "d", "u"), None);
    }

    #[test]
    fn empty_password_of_the_first_match_is_none() {
        assert_eq!(lookup("h:*:*:*:\nh:*:*:*:p", "h", 1, "d", "u"), None);
    }

    #[test]
    fn file_with_group_access_is_ignored() {
        for mode in [0o640, 0o604, 0o610] {
            let (_folder, path) = file("*:*:*:*:hunter2", mode);
            let error = Passfile::read(&path).err().unwrap();
            assert!(matches!(error, ParameterError::File { .. }), "{mode:o}");
            assert!(!error.to_string().contains("hunter2"));
        }
        let (folder, path) = file("", 0o600);
        assert!(matches!(Passfile::read(folder.path()), Err(ParameterError::File { .. })));
        fs::remove_file(&path).unwrap();
        assert!(matches!(Passfile::read(&path), Err(ParameterError::Read { .. })));
    }
}
