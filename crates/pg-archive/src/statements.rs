//! The statements of a script in memory, such as the globals of a cluster.
//!
//! The lexer is that of the script checker, so both agree with psql about the text that is a
//! statement, a comment or a command. The data of `COPY` is not recognised: globals contain none.

use crate::script::lexer::{Element, Lexer};
use crate::sql::{Strings, Tokens};

/// A part of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    /// The kind.
    pub kind: PartKind,
    /// The text, unchanged.
    pub text: &'a str,
}

/// The kind of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartKind {
    /// A comment, or white space, between statements.
    Comment,
    /// A psql command, with its line feed. A statement that contains one extends to the end of the
    /// script, and counts as a command.
    Command,
    /// A statement, with its semicolon and the line feed after it. Consecutive INSERT statements
    /// are one part.
    Statement,
}

/// Splits a script into its parts, whose concatenation is the script.
pub fn split(script: &str) -> Vec<Part<'_>> {
    let mut lexer = Lexer::new();
    let mut parts = Vec::new();
    let mut rest = script;
    while !rest.is_empty() {
        let offset = script.len() - rest.len();
        let Ok(step) = lexer.step(rest.as_bytes(), offset as u64) else {
            parts.push(Part { kind: PartKind::Command, text: rest });
            break;
        };
        let is_statement = step.ended == Some(Element::Statement) || lexer.is_in_statement();
        let mut bytes = step.bytes;
        if step.ended == Some(Element::Statement) && rest[bytes..].starts_with('\n') {
            bytes += 1;
            lexer.resume_at_line_start();
        }
        let (whole, after) = rest.split_at(bytes);
        let (blank, text) = whole.split_at(step.blank);
        let kind = match text.as_bytes().first() {
            Some(b'\\') => PartKind::Command,
            _ if is_statement => PartKind::Statement,
            _ => PartKind::Comment,
        };
        let blank = Part { kind: PartKind::Comment, text: blank };
        parts.extend([blank, Part { kind, text }].into_iter().filter(|part| !part.text.is_empty()));
        rest = after;
    }
    parts
}

/// Returns the identifier that `statement` has after `prefix`, as the name that it denotes, and the
/// rest of the statement.
pub fn identifier_after<'a>(statement: &'a str, prefix: &str) -> Option<(String, &'a str)> {
    let rest = statement.strip_prefix(prefix)?;
    let mut tokens = Tokens::new(rest.as_bytes(), Strings::Standard);
    let token = tokens.next()?;
    let name = String::from_utf8(tokens.name(&token)?).ok()?;
    Some((name, &rest[token.range.end..]))
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

    fn concat(script: &str) -> String {
        split(script).iter().map(|part| part.text).collect()
    }

    fn has_command(script: &str) -> bool {
        split(script).iter().any(|part| part.kind == PartKind::Command)
    }

    #[test]
    fn statements_keep_literals_whole() {
        let parts = split(GLOBALS);
        assert_eq!(concat(GLOBALS), GLOBALS);
        let roles: Vec<_> = parts.iter().filter_map(|part| identifier_after(part.text, "CREATE ROLE ")).collect();
        assert_eq!(roles, [("od\"d; role".to_owned(), ";\n"), ("app".to_owned(), ";\n")]);
        for statement in ["DO $x$ begin; perform 1; end $x$;\n", "COMMENT ON ROLE app IS E'it\\'s; so';\n"] {
            assert!(parts.contains(&Part { kind: PartKind::Statement, text: statement }), "{statement}");
        }
    }

    #[test]
    fn psql_commands_are_found_outside_of_quotes() {
        for harmless in
            ["CREATE ROLE app;\n", "SELECT '\\! id', $x$\\! id$x$, \"\\! id\"; -- \\! id\n", "SELECT E'\\\\';"]
        {
            assert!(!has_command(harmless), "{harmless}");
        }
        for executed in ["\\! id\n", " \\! id\n", "SELECT 1 \\gexec\n", "SELECT 'a' \\! id\n", "-- x\n\\! id\n"] {
            assert!(has_command(executed), "{executed}");
        }
    }

    #[test]
    fn psql_commands_cannot_hide_behind_other_syntax() {
        for executed in [
            "/* ' */ \\! id\n'",
            "SELECT /* ' */ 1 \\! id\n';",
            "SELECT a$b$ \\! id $b$;",
            "SELECT 1;\\! id",
            "CREATE RULE r DO (a; \\! id\n;);",
        ] {
            assert!(has_command(executed), "{executed}");
            assert_eq!(concat(executed), executed);
        }
        assert!(!has_command("/* \\! id */ SELECT 1 /* ' \\! id */;\n"));
    }

    #[test]
    fn parts_end_where_psql_ends_them() {
        use PartKind::{Command, Comment, Statement};
        let script = "/* a; */ SELECT 1;\n\n  -- b;\n\\restrict 'c;\nCREATE RULE r DO (a; b);SELECT 2";
        let expected = [
            (Comment, "/* a; */"),
            (Comment, " "),
            (Statement, "SELECT 1;\n"),
            (Comment, "\n  "),
            (Comment, "-- b;\n"),
            (Command, "\\restrict 'c;\n"),
            (Statement, "CREATE RULE r DO (a; b);"),
            (Statement, "SELECT 2"),
        ];
        assert_eq!(split(script), expected.map(|(kind, text)| Part { kind, text }));
    }

    #[test]
    fn truncated_script_is_split_without_loss() {
        for end in (0..GLOBALS.len()).filter(|end| GLOBALS.is_char_boundary(*end)) {
            assert_eq!(concat(&GLOBALS[..end]), &GLOBALS[..end]);
        }
    }

    #[test]
    fn identifier_after_returns_the_denoted_name() {
        for (statement, expected) in [
            ("CREATE ROLE App$1;", Some(("app$1", ";"))),
            ("CREATE ROLE \"App 1\" x", Some(("App 1", " x"))),
            ("CREATE ROLE \"cut", None),
            ("CREATE ROLE 'app';", None),
            ("CREATE USER app;", None),
        ] {
            let expected = expected.map(|(name, after)| (name.to_owned(), after));
            assert_eq!(identifier_after(statement, "CREATE ROLE "), expected, "{statement}");
        }
    }
}
