//! Parsed libpq connection strings: keywords (`host=… dbname='my db'`) and URIs (`postgresql://…`).
//!
//! Source: PostgreSQL's documentation of libpq, "Connection Strings". The rebuilt string is passed
//! in a child's argv, so the password is kept apart and passed in the environment.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use longshore_core::{Error, Kind, Result, Stage};
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};

/// A connection string without its password, and the password.
#[derive(Debug, Clone, Default)]
pub struct ConnInfo {
    keywords: Vec<(String, String)>,
    password: Option<SecretString>,
}

/// The settings that are secret and that libpq reads from no environment variable.
const SECRET_KEYWORDS: [&str; 2] = ["sslpassword", "oauth_client_secret"];

/// The settings that name secret files, and that accept a credential of the service manager.
const FILE_KEYWORDS: [&str; 4] = ["passfile", "sslcert", "sslkey", "sslrootcert"];

impl ConnInfo {
    /// Parses a connection string. Errors never quote the string, since it may contain a secret.
    pub fn parse(text: &SecretString) -> Result<Self> {
        let text = text.expose_secret().trim();
        let pairs = match text.split_once("://") {
            Some(("postgresql" | "postgres", rest)) => uri(rest),
            _ => keywords(text),
        };
        let mut all = Self::default();
        for (keyword, value) in pairs.map_err(parse_error)? {
            if SECRET_KEYWORDS.contains(&keyword.as_str()) {
                let message = format!("\"{keyword}\" in a connection string would be visible on a command line");
                return Err(Error::new(Stage::Config, Kind::Usage, "connection", message)
                    .hint("put it into a service file (pg_service.conf) and write connection = \"service=NAME\""));
            }
            match keyword.as_str() {
                "password" => all.password = Some(value.into()),
                keyword if FILE_KEYWORDS.contains(&keyword) => {
                    let file = longshore_core::credential::file(Path::new(&value))?;
                    all.set(keyword, &file.to_string_lossy());
                }
                _ => all.set(&keyword, &value),
            }
        }
        Ok(all)
    }

    /// Returns the value of a keyword, if it is set.
    pub fn get(&self, keyword: &str) -> Option<&str> {
        self.keywords.iter().find(|(name, _)| name == keyword).map(|(_, value)| value.as_str())
    }

    /// Returns all keywords and their values, without the password.
    pub fn keywords(&self) -> impl Iterator<Item = (&str, &str)> {
        self.keywords.iter().map(|(keyword, value)| (keyword.as_str(), value.as_str()))
    }

    /// Sets a keyword. The last setting takes effect, as in libpq.
    pub fn set(&mut self, keyword: &str, value: &str) {
        self.keywords.retain(|(name, _)| name != keyword);
        self.keywords.push((keyword.to_owned(), value.to_owned()));
    }

    /// Removes a keyword.
    pub(crate) fn remove(&mut self, keyword: &str) {
        self.keywords.retain(|(name, _)| name != keyword);
    }

    /// Returns the password, if the string contained one.
    pub fn password(&self) -> Option<&SecretString> {
        self.password.as_ref()
    }
}

/// Writes the string for a child's argv: keywords, quoted, without the password.
impl fmt::Display for ConnInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (keyword, value)) in self.keywords.iter().enumerate() {
            let gap = if index == 0 { "" } else { " " };
            write!(f, "{gap}{keyword}='{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))?;
        }
        Ok(())
    }
}

fn parse_error(reason: &str) -> Error {
    Error::new(Stage::Config, Kind::Usage, "connection", format!("not a libpq connection string: {reason}")).hint(
        "write keywords, such as \"host=db1 user=backup\", a URI, such as \"postgresql://backup@db1\", or \"service=NAME\"",
    )
}

type Pairs = Result<Vec<(String, String)>, &'static str>;

/// Parses `keyword = value` pairs. A value may be quoted, and a backslash escapes the next
/// character.
fn keywords(text: &str) -> Pairs {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (keyword, after) = rest.split_once('=').ok_or("a keyword has no \"=\"")?;
        let keyword = keyword.trim();
        if keyword.is_empty() || !keyword.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err("a keyword is not a word");
        }
        let (value, after) = value(after.trim_start())?;
        pairs.push((keyword.to_owned(), value));
        rest = after.trim_start();
    }
    Ok(pairs)
}

/// Parses one value and returns the rest of the text.
fn value(text: &str) -> Result<(String, &str), &'static str> {
    let quoted = text.starts_with('\'');
    let mut chars = text.char_indices().skip(usize::from(quoted));
    let mut value = String::new();
    while let Some((index, char)) = chars.next() {
        match char {
            '\\' => value.push(chars.next().ok_or("a backslash at the end escapes no character")?.1),
            '\'' if quoted => return Ok((value, &text[index + 1..])),
            _ if !quoted && char.is_whitespace() => return Ok((value, &text[index..])),
            _ => value.push(char),
        }
    }
    if quoted { Err("a quoted value does not end") } else { Ok((value, "")) }
}

/// Parses the text after `postgresql://`:
/// `[user[:password]@][host[:port][,…]][/database][?keyword=value[&…]]`.
fn uri(text: &str) -> Pairs {
    let (text, query) = text.split_once('?').unwrap_or((text, ""));
    let (authority, database) = text.split_once('/').unwrap_or((text, ""));
    let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = user.split_once(':').unwrap_or((user, ""));

    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in hosts.split(',') {
        // An IPv6 address is in brackets, since it contains colons.
        let (name, port) = match host.strip_prefix('[') {
            Some(rest) => {
                let (name, port) = rest.split_once(']').ok_or("an IPv6 address does not end with \"]\"")?;
                (name, port.strip_prefix(':').unwrap_or(""))
            }
            None => host.split_once(':').unwrap_or((host, "")),
        };
        names.push(decode(name)?);
        ports.push(port.to_owned());
    }

    let mut pairs = vec![
        ("user".to_owned(), decode(user)?),
        ("password".to_owned(), decode(password)?),
        ("host".to_owned(), names.join(",")),
        ("port".to_owned(), ports.join(",")),
        ("dbname".to_owned(), decode(database)?),
    ];
    pairs.retain(|(_, value)| !value.chars().all(|char| char == ','));
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (keyword, value) = pair.split_once('=').ok_or("a parameter has no \"=\"")?;
        match (decode(keyword)?.as_str(), decode(value)?.as_str()) {
            ("ssl", "true") => pairs.push(("sslmode".to_owned(), "require".to_owned())),
            (keyword, value) => pairs.push((keyword.to_owned(), value.to_owned())),
        }
    }
    Ok(pairs)
}

/// Decodes percent-encoding. A `%` without two hexadecimal digits is an error, as in libpq.
fn decode(text: &str) -> Result<String, &'static str> {
    let begins_with_digits =
        |after: &str| after.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    if !text.split('%').skip(1).all(begins_with_digits) {
        return Err("a \"%\" is not followed by two hexadecimal digits");
    }
    percent_decode_str(text).decode_utf8().map(Cow::into_owned).map_err(|_| "a part is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ConnInfo {
        ConnInfo::parse(&text.to_owned().into()).unwrap()
    }

    #[test]
    fn keywords_are_parsed_like_libpq() {
        let info = parse(r"host = /run/pg  user=bob dbname='it\'s my \\ db' port=5433 user=alice application_name=''");
        assert_eq!(info.get("host"), Some("/run/pg"));
        assert_eq!(info.get("user"), Some("alice"));
        assert_eq!(info.get("dbname"), Some(r"it's my \ db"));
        assert_eq!(info.get("application_name"), Some(""));
        assert_eq!(parse(&info.to_string()).to_string(), info.to_string());
    }

    #[test]
    fn uris_are_parsed_like_libpq() {
        let info = parse("postgresql://us%40er:p%3Aw@db1:5433,[::1]:5434/my%20db?sslmode=require&options=-c%20x%3D1");
        assert_eq!(info.get("user"), Some("us@er"));
        assert_eq!(info.get("host"), Some("db1,::1"));
        assert_eq!(info.get("port"), Some("5433,5434"));
        assert_eq!(info.get("dbname"), Some("my db"));
        assert_eq!(info.get("options"), Some("-c x=1"));
        assert_eq!(info.password().unwrap().expose_secret(), "p:w");
        assert_eq!(parse("postgres://").to_string(), "");
    }

    #[test]
    fn decode_rejects_malformed_percent_encoding() {
        assert_eq!(decode("%C3%a9%25").unwrap(), "é%");
        for text in ["%", "%4", "a%%41", "%4%41", "%+1", "%zz", "%é", "%ff"] {
            assert!(decode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn password_is_separate_and_never_printed() {
        for text in ["password=hunter2 host=db1", "password='hunter2'", "postgresql://u:hunter2@db1/x?password=hunter2"]
        {
            let info = parse(text);
            assert_eq!(info.password().unwrap().expose_secret(), "hunter2");
            assert!(!format!("{info} {info:?}").contains("hunter2"));
        }
    }

    #[test]
    fn passfile_accepts_a_credential() {
        assert_eq!(
            parse("passfile=/etc/pgpass sslrootcert=system").to_string(),
            "passfile='/etc/pgpass' sslrootcert='system'"
        );
        // Tests run without a service manager that passes credentials.
        let error = ConnInfo::parse(&"passfile=credential:pgpass".to_owned().into()).unwrap_err();
        assert!(error.remedy().unwrap().contains("LoadCredential=pgpass:"), "{error:?}");
    }

    #[test]
    fn parse_errors_do_not_quote_the_string() {
        for text in [
            "hunter2",
            "host=x password='hunter2",
            "=hunter2",
            r"password=hunter2\",
            "postgresql://u:hunter2%zz@h",
            "sslpassword=hunter2",
        ] {
            let error = ConnInfo::parse(&text.to_owned().into()).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage);
            assert!(!error.chain().contains("hunter2") && error.remedy().is_some(), "{error}");
        }
    }
}
