//! Reading tables of the file, and references from one table to another.

use std::collections::BTreeMap;
use std::ops::Range;

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

/// Reads a value as its type. The error names the setting.
pub(crate) fn read<'de, T: Deserialize<'de>>(value: Spanned<DeValue<'de>>) -> Result<T, ConfigError> {
    // Only for an error, but the value is then consumed.
    let whole = value.clone();
    T::deserialize(ValueDeserializer::from(value)).map_err(|error| {
        let setting = error.span().map(|span| setting_at(&whole, &span)).unwrap_or_default();
        ConfigError::from(error).in_setting(&setting)
    })
}

/// Returns the name of the setting whose value is at a position: the keys that lead to it.
fn setting_at(value: &Spanned<DeValue<'_>>, position: &Range<usize>) -> String {
    let DeValue::Table(table) = value.get_ref() else { return String::new() };
    for (name, value) in table {
        // The span of a table with a header is that of the header.
        let inner = setting_at(value, position);
        let span = value.span();
        if !inner.is_empty() {
            return format!("{}.{inner}", name.get_ref());
        } else if span.start <= position.start && position.end <= span.end {
            return name.get_ref().to_string();
        }
    }
    String::new()
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

/// Reads the members of a list of tables. `form` shows the right form.
pub(crate) fn list_of<'i, T>(
    setting: &str,
    form: &str,
    value: Spanned<DeValue<'i>>,
    read: impl Fn(Spanned<DeValue<'i>>) -> Result<T, ConfigError>,
) -> Result<Vec<T>, ConfigError> {
    let span = value.span();
    match value.into_inner() {
        DeValue::Array(array) => array.into_iter().map(read).collect(),
        DeValue::Table(_) => Err(ConfigError::at(span, format!("{setting} must be a list, not a table: write {form}"))),
        _ => Err(ConfigError::at(span, format!("{setting} must be a list of tables: write {form}"))),
    }
}

#[cfg(test)]
mod tests {
    use toml::de::DeTable;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only errors matter")]
    struct Table {
        #[serde(default)]
        ship: Vec<String>,
        inner: Option<Box<Table>>,
        #[serde(default)]
        count: u32,
        either: Option<Either>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    #[expect(dead_code, reason = "only errors matter")]
    enum Either {
        Number(u32),
        List(Vec<String>),
    }

    #[test]
    fn error_names_the_setting_and_the_right_form() {
        let message = |source: &str| {
            let table = DeTable::parse(source).unwrap();
            let value = Spanned::new(table.span(), DeValue::Table(table.into_inner()));
            read::<Table>(value).unwrap_err().message().to_owned()
        };
        for (source, expected) in [
            ("ship = 'disk'", "ship: must be a list, such as [\"…\"], not string \"disk\""),
            ("inner = { ship = 'disk' }", "inner.ship: must be a list, such as [\"…\"], not string \"disk\""),
            ("count = 'x'", "count: must be a whole number, not string \"x\""),
            ("inner = []", "inner: must be a table, not a list"),
            ("either = true", "either: has none of the forms that this setting takes: see longshore-config(5)"),
            ("shipp = 1", "unknown field `shipp`, expected one of `ship`, `inner`, `count`, `either`"),
        ] {
            assert_eq!(message(source), expected, "{source}");
        }
    }
}
