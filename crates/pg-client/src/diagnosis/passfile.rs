//! The password file `.pgpass`. Source: PostgreSQL's documentation of libpq, "The Password File".

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use secrecy::SecretString;

/// Returns the password of the first line that matches a host, a port, a database and a user.
/// Ignores a file that others may read, as libpq does.
pub(super) fn password(path: &Path, wanted: [&str; 4]) -> Option<SecretString> {
    if fs::metadata(path).ok()?.mode() & 0o077 != 0 {
        return None;
    }
    let text = fs::read_to_string(path).ok()?;
    let line =
        text.lines().filter(|line| !line.starts_with('#')).map(fields).find(|fields| is_match(fields, wanted))?;
    line.into_iter().nth(wanted.len()).filter(|password| !password.is_empty()).map(SecretString::from)
}

/// Splits a line into fields. A backslash escapes the next character.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match (char, fields.last_mut()) {
            (':', _) => fields.push(String::new()),
            ('\\', Some(field)) => field.extend(chars.next()),
            (char, Some(field)) => field.push(char),
            (_, None) => {}
        }
    }
    fields
}

fn is_match(fields: &[String], wanted: [&str; 4]) -> bool {
    fields.len() > wanted.len() && wanted.iter().zip(fields).all(|(wanted, field)| field == "*" || field == wanted)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn first_matching_line_has_the_password() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".pgpass");
        fs::write(
            &path,
            "# db1:5432:shop:bob:no\ndb2:*:*:bob:other\ndb1:5432:sh\\:op:*:pa\\\\ss\\:word\n*:*:*:bob:any\n",
        )
        .unwrap();
        let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        mode(0o600);
        let lookup = |wanted| password(&path, wanted).map(|password| password.expose_secret().to_owned());
        assert_eq!(lookup(["db1", "5432", "sh:op", "eve"]).as_deref(), Some("pa\\ss:word"));
        assert_eq!(lookup(["db1", "5432", "x", "bob"]).as_deref(), Some("any"));
        assert_eq!(lookup(["db1", "5432", "x", "eve"]), None);
        mode(0o644);
        assert_eq!(lookup(["db1", "5432", "x", "bob"]), None, "others may read it");
    }
}
