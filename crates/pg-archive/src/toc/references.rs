//! Names in entries, other than those of the entries themselves.

use std::collections::BTreeSet;

use crate::facts::Sequence;
use crate::sql::{SetValue, Strings, roles};

/// The names in all entries.
#[derive(Default)]
pub(crate) struct References {
    pub(crate) sequences: Vec<Sequence>,
    pub(crate) extensions: BTreeSet<String>,
    pub(crate) roles: BTreeSet<String>,
    pub(crate) tablespaces: BTreeSet<String>,
    /// The database's own tablespace.
    pub(crate) database_tablespace: Option<String>,
    /// The meaning of a backslash in strings.
    pub(super) strings: Option<Strings>,
}

/// Returns true if the SQL of this kind of entry contains more facts than the other fields.
pub(super) fn has_parsed_sql(description: &str) -> bool {
    matches!(description, "DATABASE" | "SEQUENCE SET" | "STDSTRINGS") || names_roles(description)
}

/// Returns true if the SQL of this kind of entry may name roles.
pub(crate) fn names_roles(description: &str) -> bool {
    matches!(description, "ACL" | "DEFAULT ACL" | "POLICY" | "USER MAPPING" | "DATABASE PROPERTIES" | "SCHEMA")
}

impl References {
    /// Returns the string syntax. Before PostgreSQL 8.1 it was not recorded, and a backslash
    /// escaped the next byte.
    pub(crate) fn strings(&self) -> Strings {
        self.strings.unwrap_or(Strings::Escaped)
    }

    /// Parses the SQL of an entry that [`has_parsed_sql`]. Returns the number of bytes kept, or a
    /// flaw.
    pub(super) fn add_sql(
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
                .map(|role| insert_name(&mut self.roles, &String::from_utf8_lossy(&role.name)))
                .sum()),
        }
    }

    /// Adds the other fields of an entry. Returns the number of bytes kept.
    pub(super) fn add_fields(&mut self, description: &str, name: &str, tablespace: &str, owner: &str) -> usize {
        let mut kept = insert_name(&mut self.roles, owner) + insert_name(&mut self.tablespaces, tablespace);
        if description == "EXTENSION" {
            kept += insert_name(&mut self.extensions, name);
        }
        kept
    }
}

/// Adds a name, unless it is empty. Returns the number of bytes kept.
fn insert_name(names: &mut BTreeSet<String>, name: &str) -> usize {
    if name.is_empty() || names.contains(name) {
        return 0;
    }
    names.insert(name.to_owned());
    size_of::<String>() + name.len()
}

/// Returns the tablespace of a CREATE DATABASE, which is the last clause that pg_dump writes.
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
    fn parses_tablespace_of_create_database() {
        let of =
            |rest: &str| tablespace(&format!("CREATE DATABASE d WITH TEMPLATE = template0 ENCODING = 'UTF8'{rest};\n"));
        assert_eq!(of(""), None);
        assert_eq!(of(" TABLESPACE = ts1"), Some("ts1".to_owned()));
        assert_eq!(of(" TABLESPACE = \"TS \"\"two\""), Some("TS \"two".to_owned()));
    }
}
