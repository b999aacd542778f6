//! What entries name besides what they are.

use std::collections::BTreeSet;

use crate::facts::Sequence;
use crate::sql::{SetValue, Strings, roles};

/// What all entries name.
#[derive(Default)]
pub(crate) struct Mentions {
    pub(crate) sequences: Vec<Sequence>,
    pub(crate) extensions: BTreeSet<String>,
    pub(crate) roles: BTreeSet<String>,
    pub(crate) tablespaces: BTreeSet<String>,
    /// The database's own.
    pub(crate) database_tablespace: Option<String>,
    /// What a backslash does in a string of theirs.
    pub(super) strings: Option<Strings>,
}

/// Whether the SQL of this kind of entry says more than its other fields, and so is looked at.
pub(super) fn speaks(description: &str) -> bool {
    matches!(description, "DATABASE" | "SEQUENCE SET" | "STDSTRINGS") || names_roles(description)
}

/// Whether the SQL of this kind of entry may name roles.
pub(crate) fn names_roles(description: &str) -> bool {
    matches!(description, "ACL" | "DEFAULT ACL" | "POLICY" | "USER MAPPING" | "DATABASE PROPERTIES" | "SCHEMA")
}

impl Mentions {
    /// How strings are written. Before PostgreSQL 8.1 nobody said it, and a backslash hid the next byte.
    pub(crate) fn strings(&self) -> Strings {
        self.strings.unwrap_or(Strings::Escaped)
    }

    /// Takes the SQL of an entry that [`speaks`]; how many bytes are kept of it, or why it is none.
    pub(super) fn sql(
        &mut self,
        description: &str,
        schema: Option<&str>,
        name: &str,
        sql: &[u8],
    ) -> Result<usize, &'static str> {
        match description {
            "STDSTRINGS" => {
                let on = sql.starts_with(b"SET standard_conforming_strings = 'on'");
                self.strings = Some(if on { Strings::Standard } else { Strings::Escaped });
                Ok(0)
            }
            "DATABASE" => {
                self.database_tablespace = tablespace(&String::from_utf8_lossy(sql));
                Ok(self.database_tablespace.as_ref().map_or(0, String::len))
            }
            "SEQUENCE SET" => {
                let set = SetValue::parse(&String::from_utf8_lossy(sql), self.strings());
                let SetValue { value, called, .. } = set.ok_or("its SQL does not set a sequence")?;
                let schema = schema.map(str::to_owned);
                self.sequences.push(Sequence { database: None, schema, name: name.to_owned(), value, called });
                Ok(size_of::<Sequence>() + name.len())
            }
            _ => Ok(roles(sql, self.strings())
                .into_iter()
                .map(|role| noted(&mut self.roles, &String::from_utf8_lossy(&role.name)))
                .sum()),
        }
    }

    /// Takes the other fields of an entry; how many bytes are kept of them.
    pub(super) fn fields(&mut self, description: &str, name: &str, tablespace: &str, owner: &str) -> usize {
        let mut kept = noted(&mut self.roles, owner) + noted(&mut self.tablespaces, tablespace);
        if description == "EXTENSION" {
            kept += noted(&mut self.extensions, name);
        }
        kept
    }
}

/// Takes note of a name, unless it is empty; how many bytes that takes.
fn noted(names: &mut BTreeSet<String>, name: &str) -> usize {
    if name.is_empty() || names.contains(name) {
        return 0;
    }
    names.insert(name.to_owned());
    size_of::<String>() + name.len()
}

/// The tablespace of a CREATE DATABASE, which is the last that pg_dump writes of it.
fn tablespace(sql: &str) -> Option<String> {
    let (_, name) = sql.trim_end().strip_suffix(';')?.rsplit_once(" TABLESPACE = ")?;
    Some(match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_names_its_own_tablespace() {
        let of =
            |rest: &str| tablespace(&format!("CREATE DATABASE d WITH TEMPLATE = template0 ENCODING = 'UTF8'{rest};\n"));
        assert_eq!(of(""), None);
        assert_eq!(of(" TABLESPACE = ts1"), Some("ts1".to_owned()));
        assert_eq!(of(" TABLESPACE = \"TS \"\"two\""), Some("TS \"two".to_owned()));
    }
}
