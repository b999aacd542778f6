//! Reading tables of the file, and references from one table to another.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeValue, ValueDeserializer};

use crate::error::{ConfigError, quote_unless_secret};
use crate::suggestion;

/// The maximum length of a name. A longer name would not fit into a key or a file name.
pub(crate) const MAX_NAME_BYTES: usize = 100;

/// Returns the hint for an unknown name: the nearest known name, and all of them.
pub(crate) fn unknown_name_hint<'a>(
    written: &str,
    what: &str,
    names: impl Iterator<Item = &'a String> + Clone,
) -> String {
    let all = format!("the {what} are {}", list(names.clone()));
    suggestion::hint(written, names.map(String::as_str), &all)
}

/// Looks up a reference. The error lists the known names.
pub(crate) fn look_up<'a, T>(all: &'a BTreeMap<String, T>, name: &str, what: &str) -> Result<&'a T, String> {
    all.get(name).ok_or_else(|| match all.is_empty() {
        true if is_valid_name(name) => {
            format!("there is no {what} {}: add a table [{what}.{name}]", quote_unless_secret(name))
        }
        true => format!("there is no {what} {}: add a table [{what}.NAME]", quote_unless_secret(name)),
        false => match suggestion::nearest(name, all.keys().map(String::as_str)) {
            Some(near) => format!("there is no {what} {}; did you mean \"{near}\"?", quote_unless_secret(name)),
            None => format!("there is no {what} {}; known: {}", quote_unless_secret(name), list(all.keys())),
        },
    })
}

/// Returns names in quotes, separated by commas.
pub(crate) fn list<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

/// Returns true if a table contains `type = "none"` and nothing else.
pub(crate) fn is_none(value: &Spanned<DeValue<'_>>) -> bool {
    let DeValue::Table(table) = value.get_ref() else {
        return false;
    };
    table.len() == 1 && table.get("type").and_then(|name| name.get_ref().as_str()) == Some("none")
}

/// Reads a value as its type.
pub(crate) fn read<'de, T: Deserialize<'de>>(value: Spanned<DeValue<'de>>) -> Result<T, ConfigError> {
    Ok(T::deserialize(ValueDeserializer::from(value))?)
}

/// Reads the named tables of a section.
pub(crate) fn section<'i, T>(
    value: Option<Spanned<DeValue<'i>>>,
    read: impl Fn(&str, Spanned<DeValue<'i>>) -> Result<T, ConfigError>,
) -> Result<BTreeMap<String, T>, ConfigError> {
    let Some(value) = value else {
        return Ok(BTreeMap::new());
    };
    let span = value.span();
    let DeValue::Table(table) = value.into_inner() else {
        return Err(ConfigError::at(span, "must be a table of named tables, such as [cluster.main]"));
    };
    let entry = |(name, value): (Spanned<std::borrow::Cow<'i, str>>, Spanned<DeValue<'i>>)| {
        if !is_valid_name(name.get_ref()) {
            let message =
                format!("a name has at most {MAX_NAME_BYTES} of A-Z a-z 0-9 . _ - and begins with a letter or digit");
            return Err(ConfigError::at(name.span(), message));
        }
        Ok((name.get_ref().to_string(), read(name.get_ref(), value)?))
    };
    table.into_iter().map(entry).collect()
}

/// Returns true if a name needs no escaping in file names and on command lines.
pub(crate) fn is_valid_name(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// Reads the members of a list.
pub(crate) fn list_of<'i, T>(
    value: Spanned<DeValue<'i>>,
    read: impl Fn(Spanned<DeValue<'i>>) -> Result<T, ConfigError>,
) -> Result<Vec<T>, ConfigError> {
    let span = value.span();
    match value.into_inner() {
        DeValue::Array(array) => array.into_iter().map(read).collect(),
        _ => Err(ConfigError::at(span, "must be a list of tables, such as [{ type = \"…\" }]")),
    }
}
