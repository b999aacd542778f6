//! psql's backslash commands that pg_dump and pg_dumpall write.

use crate::copy_data::Flaw;

/// A line that begins with a backslash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// `\connect`: the following statements are for another database, or for a new session of the
    /// same one.
    Connect(String),
    /// `\encoding`.
    Encoding(String),
    /// `\restrict`: no other command is allowed until `\unrestrict` with this key.
    Restrict(String),
    /// `\unrestrict`.
    Unrestrict(String),
}

impl Command {
    /// Parses a line without its line feed.
    pub(crate) fn parse(line: &str) -> Result<Self, Flaw> {
        let (name, argument) = line.split_once(' ').unwrap_or((line, ""));
        match name {
            "\\connect" => connect(argument).map(Self::Connect),
            "\\encoding" if !argument.is_empty() => Some(Self::Encoding(argument.to_owned())),
            "\\restrict" if is_key(argument) => Some(Self::Restrict(argument.to_owned())),
            "\\unrestrict" if is_key(argument) => Some(Self::Unrestrict(argument.to_owned())),
            _ => None,
        }
        .ok_or_else(|| {
            let begin: String = line.chars().take(40).collect();
            format!("a line begins with {begin:?}, which is not a command that pg_dump writes")
        })
    }
}

fn is_key(argument: &str) -> bool {
    !argument.is_empty() && argument.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Parses `name`, `"name"` or `-reuse-previous=on "dbname='name'"` as psql does, and returns the
/// database's name.
fn connect(argument: &str) -> Option<String> {
    let Some(string) = argument.strip_prefix("-reuse-previous=on ") else { return unquoted(argument) };
    let string = unquoted(string)?;
    let Some(quoted) = string.strip_prefix("dbname='") else {
        return string.strip_prefix("dbname=").filter(|name| !name.is_empty()).map(str::to_owned);
    };
    let mut name = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '\'' => return characters.next().is_none().then_some(name),
            '\\' => name.push(characters.next()?),
            other => name.push(other),
        }
    }
}

/// Removes the quotes around an argument, and undoubles those inside.
fn unquoted(argument: &str) -> Option<String> {
    let Some(quoted) = argument.strip_prefix('"') else {
        return (!argument.is_empty() && !argument.contains([' ', '"', '\''])).then(|| argument.to_owned());
    };
    let inside = quoted.strip_suffix('"')?;
    (!inside.replace("\"\"", "").contains('"')).then(|| inside.replace("\"\"", "\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_connect_like_psql() {
        for (line, name) in [
            ("\\connect shop", "shop"),
            ("\\connect \"quoted \"\"name\"", "quoted \"name"),
            ("\\connect -reuse-previous=on \"dbname='my db'\"", "my db"),
            ("\\connect -reuse-previous=on \"dbname='Archiv \"\"Köln\"\" 1/2'\"", "Archiv \"Köln\" 1/2"),
            ("\\connect -reuse-previous=on \"dbname='l\\'été\\\\%'\"", "l'été\\%"),
            ("\\connect -reuse-previous=on \"dbname=plain\"", "plain"),
        ] {
            assert_eq!(Command::parse(line), Ok(Command::Connect(name.to_owned())), "{line}");
        }
    }

    #[test]
    fn parses_other_commands() {
        assert_eq!(Command::parse("\\encoding SQL_ASCII"), Ok(Command::Encoding("SQL_ASCII".to_owned())));
        assert_eq!(Command::parse("\\restrict aZ09"), Ok(Command::Restrict("aZ09".to_owned())));
        assert_eq!(Command::parse("\\unrestrict aZ09"), Ok(Command::Unrestrict("aZ09".to_owned())));
    }

    #[test]
    fn rejects_commands_that_pg_dump_never_writes() {
        for line in [
            "\\",
            "\\.",
            "\\! rm -r /",
            "\\connect",
            "\\connect \"shop",
            "\\connect a b",
            "\\connect -reuse-previous=on \"dbname='my db\"",
            "\\connect -reuse-previous=on \"dbname='my db' host=x\"",
            "\\connect -reuse-previous=on \"dbname='my db\\\"",
            "\\encoding",
            "\\restrict",
            "\\restrict two keys",
            "\\unrestrict `reboot`",
        ] {
            assert!(Command::parse(line).is_err(), "{line}");
        }
    }
}
