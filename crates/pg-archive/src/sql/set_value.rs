//! The statement that sets a sequence.

use super::token::Strings;

/// The state that a statement of pg_dump sets a sequence to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SetValue {
    /// The sequence's schema, if present, and name. `None` before PostgreSQL 8.2, which looked the
    /// sequence up by its column.
    pub(crate) sequence: Option<(Option<String>, String)>,
    pub(crate) value: i64,
    pub(crate) called: bool,
}

impl SetValue {
    /// The beginning of every such statement.
    pub(crate) const BEGINNING: &str = "SELECT pg_catalog.setval(";

    /// Parses `SELECT pg_catalog.setval('schema.name', 42, true);`. Returns `None` for a statement
    /// that pg_dump never writes.
    pub(crate) fn parse(statement: &str, strings: Strings) -> Option<Self> {
        let inside = statement.trim_end_matches('\n').strip_prefix(Self::BEGINNING)?.strip_suffix(");")?;
        let (inside, called) = inside.rsplit_once(", ")?;
        let (sequence, value) = inside.rsplit_once(", ")?;
        let called = match called {
            "true" => true,
            "false" => false,
            _ => return None,
        };
        Some(Self { sequence: Self::sequence(sequence, strings), value: value.parse().ok()?, called })
    }

    /// Parses the string that names the sequence.
    fn sequence(string: &str, strings: Strings) -> Option<(Option<String>, String)> {
        let mut names = string.strip_prefix('\'')?.strip_suffix('\'')?.replace("''", "'");
        if strings == Strings::Escaped {
            names = names.replace("\\\\", "\\");
        }
        let mut rest = names.as_str();
        let first = crate::copy_statement::identifier(&mut rest)?;
        if rest.is_empty() {
            return Some((None, first));
        }
        rest = rest.strip_prefix('.')?;
        let second = crate::copy_statement::identifier(&mut rest)?;
        rest.is_empty().then_some((Some(first), second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_quoted_names() {
        for (statement, schema, name, value, called) in [
            (
                "SELECT pg_catalog.setval('public.orders_id_seq', 42, true);\n",
                Some("public"),
                "orders_id_seq",
                42,
                true,
            ),
            (
                "SELECT pg_catalog.setval('\"a.b\".\"odd''\"\", 1, true);\"', -9223372036854775808, false);",
                Some("a.b"),
                "odd'\", 1, true);",
                i64::MIN,
                false,
            ),
            (
                "SELECT pg_catalog.setval('public.\"back\\slash''\"', 1, false);",
                Some("public"),
                "back\\slash'",
                1,
                false,
            ),
            ("SELECT pg_catalog.setval('old', 7, true);", None, "old", 7, true),
        ] {
            let parsed = SetValue::parse(statement, Strings::Standard).unwrap();
            assert_eq!(parsed.sequence, Some((schema.map(str::to_owned), name.to_owned())), "{statement}");
            assert_eq!((parsed.value, parsed.called), (value, called), "{statement}");
        }
        let by_column = "SELECT pg_catalog.setval(pg_catalog.pg_get_serial_sequence('t', 'id'), 3, true);\n";
        assert_eq!(
            SetValue::parse(by_column, Strings::Standard),
            Some(SetValue { sequence: None, value: 3, called: true })
        );
        let escaped = SetValue::parse("SELECT pg_catalog.setval('a.\"b\\\\c\"', 3, true);", Strings::Escaped).unwrap();
        assert_eq!(escaped.sequence, Some((Some("a".to_owned()), "b\\c".to_owned())));
    }

    #[test]
    fn rejects_statement_that_pg_dump_never_writes() {
        for statement in [
            "",
            "SELECT pg_catalog.setval(",
            "SELECT pg_catalog.setval('a', 1, true)",
            "SELECT pg_catalog.setval('a', 1, maybe);",
            "SELECT pg_catalog.setval('a', 9223372036854775808, true);",
            "SELECT pg_catalog.setval('a', , true);",
            "SELECT pg_catalog.setval('a');",
        ] {
            assert_eq!(SetValue::parse(statement, Strings::Standard), None, "{statement}");
        }
    }
}
