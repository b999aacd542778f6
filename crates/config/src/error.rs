//! An error in the configuration, with its position in the file.

use std::ops::Range;
use std::path::Path;

use longshore_core::{Error, Kind, Stage};

/// An error at a position in the file, given in bytes.
#[derive(Debug)]
pub(crate) struct ConfigError {
    span: Option<Range<usize>>,
    message: String,
    kind: Kind,
}

impl ConfigError {
    /// Creates an error at `span`.
    pub(crate) fn at(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span: Some(span), message: message.into(), kind: Kind::Usage }
    }

    /// Creates an error for valid settings at `span` that a safety rule forbids.
    pub(crate) fn refused(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { kind: Kind::Refused, ..Self::at(span, message) }
    }

    /// Returns the error with the name of the setting, and with the words of TOML in place of the
    /// parser's.
    pub(crate) fn in_setting(self, setting: &str) -> Self {
        let message = explained(&self.message);
        let is_named = setting.is_empty() || message.contains(&format!("`{setting}`"));
        Self { message: if is_named { message } else { format!("{setting}: {message}") }, ..self }
    }

    /// Returns the message.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Returns the error with the file, line and column, and the line with a mark beneath.
    pub(crate) fn in_file(&self, path: &Path, source: &str) -> Error {
        let new_error = |subject: String, message: String| Error::new(Stage::Config, self.kind, subject, message);
        let Some(span) = &self.span else {
            return new_error(path.display().to_string(), self.message.clone());
        };
        let before = &source[..span.start.min(source.len())];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let (number, column) = (before.matches('\n').count() + 1, before[start..].chars().count() + 1);
        let line = source[start..].lines().next().unwrap_or_default();
        let subject = format!("{}:{number}:{column}", path.display());
        let marks = span.len().clamp(1, line.len().saturating_sub(column - 1).max(1));
        let excerpt = format!("{}\n{}{}", mask_secrets(line), " ".repeat(column - 1), "^".repeat(marks));
        // On a line with a word such as `secret`, any value may be a secret.
        let message =
            if may_contain_secret(line) { redact_values(&self.message, |_| true) } else { self.message.clone() };
        new_error(subject, message).because(excerpt)
    }
}

/// Returns a parser's message in the words of TOML.
fn explained(message: &str) -> String {
    if message.starts_with("data did not match any variant of untagged enum") {
        return "has none of the forms that this setting takes: see longshore-config(5)".to_owned();
    }
    // The parser would take the members of a list for those of a table.
    if message.starts_with("invalid length ") && message.contains(", expected struct ") {
        return "must be a table, not a list".to_owned();
    }
    let Some((found, expected)) =
        message.strip_prefix("invalid type: ").and_then(|rest| rest.rsplit_once(", expected "))
    else {
        return message.to_owned();
    };
    let expected = match expected {
        "a sequence" => "a list, such as [\"…\"]",
        "a map" => "a table",
        "a boolean" => "true or false",
        "a string" | "path string" => "a string in quotes",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number",
        expected if expected.starts_with("struct ") => "a table",
        expected => expected,
    };
    let found = match found {
        "map" => "a table",
        "sequence" => "a list",
        found => found,
    };
    format!("must be {expected}, not {found}")
}

/// Returns true if a text may contain a secret.
fn may_contain_secret(words: &str) -> bool {
    let lower = words.to_lowercase();
    ["pass", "://", "secret"].iter().any(|word| lower.contains(word))
}

/// Quotes a value from the file, unless it may contain a secret: users paste connection strings
/// into wrong settings.
pub(crate) fn quote_unless_secret(value: &str) -> String {
    if may_contain_secret(value) { "\"…\"".to_owned() } else { format!("{value:?}") }
}

/// Removes the values that a parser's message quotes, if `is_secret` returns true for them. Values
/// are in `"`, escaped as in Rust. Backticks contain names of settings, which are kept, or a value
/// written in place of a name.
fn redact_values(message: &str, is_secret: impl Fn(&str) -> bool) -> String {
    let mut redacted = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(start) = rest.find(['"', '`']) {
        let quote = &rest[start..=start];
        let body = &rest[start + 1..];
        // An unclosed quote extends to the end of the message.
        let end = closing_quote(body, quote).unwrap_or(body.len());
        let value = &body[..end];
        let is_redacted =
            if quote == "`" { !is_setting_name(value) && may_contain_secret(value) } else { is_secret(value) };
        redacted += &rest[..=start];
        redacted += if is_redacted { "…" } else { value };
        redacted += quote;
        rest = body.get(end + 1..).unwrap_or_default();
    }
    redacted + rest
}

/// Returns the position of the quote that closes `body`.
fn closing_quote(body: &str, quote: &str) -> Option<usize> {
    let mut escaped = false;
    body.char_indices().find_map(|(index, char)| {
        let closes = !escaped && quote.starts_with(char);
        escaped = char == '\\' && !escaped && quote == "\"";
        closes.then_some(index)
    })
}

/// Returns true if a text has the form of a setting's name.
fn is_setting_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

/// Removes the value from a line that may contain a secret, such as a password in a
/// connection string.
fn mask_secrets(line: &str) -> String {
    match line.split_once('=') {
        _ if !may_contain_secret(line) => line.to_owned(),
        Some((key, _)) if is_setting_name(key.trim()) => format!("{key}= …"),
        _ => "…".to_owned(),
    }
}

impl From<toml::de::Error> for ConfigError {
    fn from(error: toml::de::Error) -> Self {
        Self { span: error.span(), message: redact_values(error.message(), may_contain_secret), kind: Kind::Usage }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redacts_only_values_that_may_be_secrets() {
        let is_redacted = |message| redact_values(message, may_contain_secret);
        for (message, redacted) in [
            (
                r#"invalid type: string "host=db password=x", expected a map"#,
                r#"invalid type: string "…", expected a map"#,
            ),
            (
                r#"invalid type: string "a\"b password=x\\", expected a map"#,
                r#"invalid type: string "…", expected a map"#,
            ),
            (r#"unknown variant "postgresql://u:x"#, r#"unknown variant "…""#),
            ("unknown field `postgresql://u:x@h`, expected `passphrase`", "unknown field `…`, expected `passphrase`"),
            (r#"invalid type: string "daily", expected u32"#, r#"invalid type: string "daily", expected u32"#),
        ] {
            assert_eq!(is_redacted(message), redacted);
        }
    }

    #[test]
    fn redacts_all_values_beside_a_secret_setting() {
        let source = "secret_key = \"x1y2\"";
        let config_error = ConfigError::at(13..19, "invalid type: string \"x1y2\", expected a map");
        let error = config_error.in_file(Path::new("config.toml"), source);
        assert!(!error.chain().contains("x1y2") && error.chain().contains("secret_key = …"), "{}", error.chain());
    }
}
