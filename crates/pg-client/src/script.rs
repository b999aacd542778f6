//! Plain SQL as `pg_dump` and `pg_dumpall` write it, statement by statement. The parser finds
//! statements without interpreting them.

/// Splits a script into statements, comments and psql commands. Their concatenation is the script.
///
/// The parser recognises quotes, dollar quotes and comments, so that a line within a literal is
/// never mistaken for a statement. The parser does not recognise the data of `COPY`: globals
/// contain none.
pub fn statements(script: &str) -> Vec<&str> {
    let mut statements = Vec::new();
    let mut rest = script;
    while !rest.is_empty() {
        let (statement, after) = rest.split_at(length(rest));
        statements.push(statement);
        rest = after;
    }
    statements
}

/// Returns the length in bytes of the first statement, comment line, empty line or psql line.
fn length(text: &str) -> usize {
    if text.starts_with("--") || text.starts_with('\\') || text.starts_with('\n') {
        return text.find('\n').map_or(text.len(), |end| end + 1);
    }
    let bytes = text.as_bytes();
    let mut position = 0;
    while position < bytes.len() {
        position += match bytes[position] {
            b';' => return position + 1 + usize::from(bytes.get(position + 1) == Some(&b'\n')),
            b'\'' => quoted(&text[position..], '\'', escapes(&text[..position])),
            b'"' => quoted(&text[position..], '"', false),
            b'-' if text[position..].starts_with("--") => text[position..].find('\n').unwrap_or(text.len() - position),
            b'$' => dollar_quoted(&text[position..]),
            _ => 1,
        };
    }
    text.len()
}

/// Returns true if a literal after `before` treats backslashes as escapes.
fn escapes(before: &str) -> bool {
    before.ends_with(['E', 'e'])
        && !before[..before.len() - 1].ends_with(|char: char| char.is_alphanumeric() || char == '_')
}

/// Returns the length in bytes of a quoted run, including its quotes. A doubled quote ends one run
/// and begins the next.
fn quoted(text: &str, quote: char, escapes: bool) -> usize {
    let mut chars = text.char_indices().skip(1);
    while let Some((position, char)) = chars.next() {
        if char == '\\' && escapes {
            chars.next();
        } else if char == quote {
            return position + 1;
        }
    }
    text.len()
}

/// Returns the length in bytes of a dollar-quoted run, or 1 if the dollar begins none.
fn dollar_quoted(text: &str) -> usize {
    let Some(end) = text[1..].find('$') else { return 1 };
    let tag = &text[..end + 2];
    if !tag[1..end + 1].chars().all(|char| char.is_alphanumeric() || char == '_') {
        return 1;
    }
    text[tag.len()..].find(tag).map_or(text.len(), |close| close + 2 * tag.len())
}

/// Returns true if psql would run a backslash command in this text: if a backslash is outside of
/// quotes and comments.
pub fn has_psql_command(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut position = 0;
    while position < bytes.len() {
        position += match bytes[position] {
            b'\\' => return true,
            b'\'' => quoted(&text[position..], '\'', escapes(&text[..position])),
            b'"' => quoted(&text[position..], '"', false),
            b'-' if text[position..].starts_with("--") => text[position..].find('\n').unwrap_or(text.len() - position),
            b'$' => dollar_quoted(&text[position..]),
            _ => 1,
        };
    }
    false
}

/// Returns the identifier that `statement` has after `prefix`, unquoted, and the rest of the
/// statement.
pub fn identifier_after<'a>(statement: &'a str, prefix: &str) -> Option<(String, &'a str)> {
    let rest = statement.strip_prefix(prefix)?;
    if !rest.starts_with('"') {
        let end = rest.find(|char: char| !(char.is_alphanumeric() || matches!(char, '_' | '$')))?;
        return (end > 0).then(|| (rest[..end].to_owned(), &rest[end..]));
    }
    let mut end = 0;
    while rest[end..].starts_with('"') {
        end += quoted(&rest[end..], '"', false);
    }
    let name = rest[..end].strip_prefix('"')?.strip_suffix('"')?;
    Some((name.replace("\"\"", "\""), &rest[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GLOBALS: &str = r#"--
-- PostgreSQL database cluster dump
--
\restrict abc

SET standard_conforming_strings = on;

CREATE ROLE "od""d; role";
ALTER ROLE "od""d; role" WITH LOGIN PASSWORD 'SCRAM-SHA-256$4096:x;
CREATE ROLE inner;';
COMMENT ON ROLE app IS E'it\'s; so';
DO $x$ begin; perform 1; end $x$;
CREATE ROLE app;
"#;

    #[test]
    fn statements_keep_literals_whole() {
        let statements = statements(GLOBALS);
        assert_eq!(statements.concat(), GLOBALS);
        let roles: Vec<_> =
            statements.iter().filter_map(|statement| identifier_after(statement, "CREATE ROLE ")).collect();
        assert_eq!(roles, [("od\"d; role".to_owned(), ";\n"), ("app".to_owned(), ";\n")]);
        assert!(statements.contains(&"DO $x$ begin; perform 1; end $x$;\n"));
        assert!(statements.contains(&"COMMENT ON ROLE app IS E'it\\'s; so';\n"));
    }

    #[test]
    fn psql_commands_are_found_outside_of_quotes() {
        for harmless in
            ["CREATE ROLE app;\n", "SELECT '\\! id', $x$\\! id$x$, \"\\! id\"; -- \\! id\n", "SELECT E'\\\\';"]
        {
            assert!(!has_psql_command(harmless), "{harmless}");
        }
        for executed in ["\\! id\n", " \\! id\n", "SELECT 1 \\gexec\n", "SELECT 'a' \\! id\n", "-- x\n\\! id\n"] {
            assert!(has_psql_command(executed), "{executed}");
        }
    }

    #[test]
    fn truncated_script_is_split_without_loss() {
        for end in (0..GLOBALS.len()).filter(|end| GLOBALS.is_char_boundary(*end)) {
            assert_eq!(statements(&GLOBALS[..end]).concat(), &GLOBALS[..end]);
        }
    }
}
