//! The COPY statement before a table's data.

/// A parsed `COPY schema.table (columns) FROM stdin;`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CopyStatement {
    pub(crate) schema: Option<String>,
    pub(crate) table: String,
    pub(crate) columns: Vec<String>,
}

impl CopyStatement {
    /// Parses a statement. Returns `None` for a statement that pg_dump never writes.
    pub(crate) fn parse(statement: &str) -> Option<Self> {
        let mut rest = statement.strip_prefix("COPY ")?;
        let mut table = identifier(&mut rest)?;
        let mut schema = None;
        if let Some(after) = rest.strip_prefix('.') {
            rest = after;
            schema = Some(std::mem::replace(&mut table, identifier(&mut rest)?));
        }
        rest = rest.strip_prefix(' ')?;
        let mut columns = Vec::new();
        if let Some(after) = rest.strip_prefix('(') {
            rest = after;
            loop {
                columns.push(identifier(&mut rest)?);
                match rest.strip_prefix(", ") {
                    Some(after) => rest = after,
                    None => break,
                }
            }
            rest = rest.strip_prefix(") ")?;
        } else {
            // A table without columns has neither a list nor parentheses.
            rest = rest.trim_start_matches(' ');
        }
        // Before PostgreSQL 12, tables could have OIDs, which COPY wrote before the first column.
        if let Some(after) = rest.strip_prefix("WITH OIDS ") {
            rest = after;
            columns.insert(0, "oid".to_owned());
        }
        (rest.trim_end_matches('\n') == "FROM stdin;").then_some(Self { schema, table, columns })
    }

    /// Returns the number of columns of a row. For a row without columns, COPY writes an empty
    /// line, which counts as one.
    pub(crate) fn width(&self) -> u64 {
        self.columns.len().max(1) as u64
    }
}

/// Splits an identifier off the front: plain, or quoted with inner quotes doubled.
pub(crate) fn identifier(rest: &mut &str) -> Option<String> {
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.find([' ', '.', ',', ')', '(', '"', '\n']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        *rest = after;
        return (!name.is_empty()).then(|| name.to_owned());
    };
    let mut name = String::new();
    let mut inside = quoted;
    loop {
        let (part, after) = inside.split_once('"')?;
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                inside = more;
            }
            None => {
                *rest = after;
                return (!name.is_empty()).then_some(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(statement: &str) -> Option<(Option<String>, String, Vec<String>)> {
        CopyStatement::parse(statement).map(|copy| (copy.schema, copy.table, copy.columns))
    }

    #[test]
    fn parses_statement() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            parsed("COPY public.orders (id, total) FROM stdin;\n"),
            Some((Some("public".into()), "orders".into(), names(&["id", "total"])))
        );
        assert_eq!(
            parsed("COPY \"od\"\"d, one\".\"a.b (c)\" (\"x\n\"\"y\", z) FROM stdin;\n"),
            Some((Some("od\"d, one".into()), "a.b (c)".into(), names(&["x\n\"y", "z"])))
        );
        assert_eq!(
            parsed("COPY public.nothing  FROM stdin;\n"),
            Some((Some("public".into()), "nothing".into(), vec![]))
        );
        assert_eq!(parsed("COPY old (a) FROM stdin;\n"), Some((None, "old".into(), names(&["a"]))));
        assert_eq!(parsed("COPY old (a) WITH OIDS FROM stdin;\n"), Some((None, "old".into(), names(&["oid", "a"]))));
    }

    #[test]
    fn rejects_statement_that_pg_dump_never_writes() {
        for statement in [
            "",
            "COPY ",
            "COPY public.orders",
            "COPY public.orders (id FROM stdin;\n",
            "COPY public.\"orders (id) FROM stdin;\n",
            "COPY public.orders (id) FROM stdin; DROP TABLE x;\n",
            "COPY public.orders () FROM stdin;\n",
            "XOPY public.orders (id) FROM stdin;\n",
        ] {
            assert_eq!(CopyStatement::parse(statement), None, "{statement}");
        }
    }
}
