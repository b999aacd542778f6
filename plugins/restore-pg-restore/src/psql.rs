//! Versions of psql that are safe for a script from an untrusted server.
//!
//! psql executes its own commands in its input. Since the releases of August 2025 (CVE-2025-8714),
//! pg_dump disables them for its script by `\restrict`; until the releases of August 2026
//! (CVE-2026-18408), a script could still run programs through the argument of `\unrestrict`.

use longshore_core::manifest::Manifest;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_archive::statements::{self, PartKind};
use longshore_pg_client::tool::Version;

/// The first minor of each major whose pg_dump writes `\restrict`; newer majors always do.
const RESTRICT_SINCE: [(u32, u32); 5] = [(13, 22), (14, 19), (15, 14), (16, 10), (17, 6)];
/// The first minor of each major whose psql is safe against the argument of `\unrestrict`.
const SAFE_SINCE: [(u32, u32); 5] = [(14, 24), (15, 19), (16, 15), (17, 11), (18, 6)];

fn is_since(first: &[(u32, u32)], version: &Version) -> bool {
    let newest = first.iter().map(|(major, _)| *major).max().unwrap_or_default();
    version.major > newest || first.iter().any(|(major, minor)| version.major == *major && version.minor >= *minor)
}

/// Fails for a script through which the dumped server could make this psql run programs on this
/// host.
pub(crate) fn expect_safe(psql: &Version, manifest: &Manifest) -> Result<()> {
    let refuse = |message: String, hint: &str| {
        Err(Error::new(Stage::Restore, Kind::Refused, manifest.subject.to_string(), message).hint(hint))
    };
    if !is_since(&SAFE_SINCE, psql) {
        let hint = "use psql 14.24, 15.19, 16.15, 17.11, 18.6 or newer (put it first in PATH), or, if you trust the superusers of the \
                    dumped server, add --trust-script";
        return refuse(format!("psql {psql} lets a script run programs (CVE-2026-18408)"), hint);
    }
    let pg_dump = Version::parse(&manifest.tool.version);
    if pg_dump.as_ref().is_some_and(|version| !is_since(&RESTRICT_SINCE, version)) {
        let hint = "if you trust the superusers of the dumped server, add --trust-script";
        let message = format!(
            "the script was written by {} {}, and may contain psql commands (CVE-2025-8714)",
            manifest.tool.name, manifest.tool.version
        );
        return refuse(message, hint);
    }
    Ok(())
}

/// The beginnings of the statements that pg_dumpall writes for roles and tablespaces, besides
/// settings. Others could make psql read the rest of the script in another way than this program
/// does: the data of COPY, or a setting changed by a function.
const STATEMENTS: [[&str; 2]; 10] = [
    ["ALTER", "ROLE"],
    ["ALTER", "TABLESPACE"],
    ["COMMENT", "ON"],
    ["CREATE", "ROLE"],
    ["CREATE", "TABLESPACE"],
    ["DROP", "ROLE"],
    ["DROP", "TABLESPACE"],
    ["GRANT", ""],
    ["REVOKE", ""],
    ["SECURITY", "LABEL"],
];

/// The beginnings of the names of server encodings. In other encodings, a byte of a character may
/// be that of a quote or of a backslash.
const SERVER_ENCODINGS: [&str; 9] =
    ["EUC_", "ISO_8859_", "KOI8", "LATIN", "MULE_INTERNAL", "SQL_ASCII", "UTF8", "WIN1", "WIN8"];

/// Removes pg_dumpall's protection against psql commands from a script of roles and tablespaces,
/// and fails if the script contains a psql command, or a statement that pg_dumpall never writes.
pub(crate) fn without_commands(script: &str, subject: &str) -> Result<String> {
    let refuse =
        |message: &str, hint: &str| Err(Error::new(Stage::Restore, Kind::Refused, subject, message).hint(hint));
    let mut kept = String::with_capacity(script.len());
    for part in statements::split(script) {
        if ["\\restrict ", "\\unrestrict "].iter().any(|command| part.text.starts_with(command)) {
            continue;
        }
        match part.kind {
            PartKind::Command => {
                return refuse(
                    "contains a psql command, which pg_dumpall never writes for roles and tablespaces",
                    "check it: --output FILE; if you trust its author, add --trust-script",
                );
            }
            PartKind::Statement if part.text.starts_with("SET ") && !is_usual(part.text) => {
                return refuse(
                    "contains a setting with which psql may read the rest of the script in another way",
                    "dump again with PGOPTIONS='-c standard_conforming_strings=on' and PGCLIENTENCODING=UTF8; \
                     or, if you trust its author, add --trust-script",
                );
            }
            PartKind::Statement if !is_usual(part.text) => {
                return refuse(
                    "contains a statement that pg_dumpall never writes for roles and tablespaces",
                    "check it: --output FILE; if you trust its author, add --trust-script",
                );
            }
            PartKind::Statement | PartKind::Comment => kept.push_str(part.text),
        }
    }
    Ok(kept)
}

/// Returns true for a statement after which psql reads a script as before.
fn is_usual(statement: &str) -> bool {
    let mut words = statement.split_ascii_whitespace();
    let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    match first {
        "SET" => is_usual_setting(statement.trim_end()) || is_session_authorization(statement),
        "RESET" => statement.trim_end() == "RESET SESSION AUTHORIZATION;",
        _ => STATEMENTS.iter().any(|[verb, object]| *verb == first && (object.is_empty() || *object == second)),
    }
}

/// Returns true if a statement sets the grantor of the privileges that follow.
fn is_session_authorization(statement: &str) -> bool {
    let role = statements::identifier_after(statement, "SET SESSION AUTHORIZATION ");
    role.is_some_and(|(_, rest)| rest.trim_end() == ";")
}

/// Returns true for a setting in the form of pg_dumpall that does not change how psql reads.
fn is_usual_setting(statement: &str) -> bool {
    let setting = statement.strip_prefix("SET ").and_then(|rest| rest.strip_suffix(';')?.split_once(" = "));
    let Some((name, value)) = setting else { return false };
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let quoted = value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    match name {
        "standard_conforming_strings" => value == "on",
        "client_encoding" => quoted.is_some_and(|encoding| {
            is_plain(encoding) && SERVER_ENCODINGS.iter().any(|known| encoding.starts_with(known))
        }),
        _ => is_plain(name) && is_plain(quoted.unwrap_or(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn safe_psql_versions_are_known() {
        let safe = |version| is_since(&SAFE_SINCE, &Version::parse(version).unwrap());
        for version in ["14.24", "15.19", "16.15", "17.11", "18.6 (Debian 18.6-3)", "19beta1"] {
            assert!(safe(version), "{version}");
        }
        for version in ["13.22", "14.23", "15.18 (Debian 15.18-0+deb12u1)", "16.14", "17.10", "18.5", "18.0"] {
            assert!(!safe(version), "{version}");
        }
    }

    #[test]
    fn restricting_pg_dump_versions_are_known() {
        let restricts = |version| is_since(&RESTRICT_SINCE, &Version::parse(version).unwrap());
        assert!(["13.22", "15.18", "17.6", "18.0"].into_iter().all(restricts));
        assert!(!["9.6.24", "12.22", "15.13", "17.5"].into_iter().any(restricts));
    }

    #[test]
    fn globals_keep_statements_without_commands() {
        let script = "\\restrict abc\nCREATE ROLE \"a\\b\";\nALTER ROLE app PASSWORD 'x\\y';\n\\unrestrict abc\n";
        let kept = without_commands(script, "globals").unwrap();
        assert_eq!(kept, "CREATE ROLE \"a\\b\";\nALTER ROLE app PASSWORD 'x\\y';\n");
        let usual = "SET client_encoding = 'EUC_JP';\nSET standard_conforming_strings = on;\nGRANT a TO b;\n\
                     SET SESSION AUTHORIZATION \"od d\";\nGRANT ALL ON TABLESPACE t TO b WITH GRANT OPTION;\n\
                     RESET SESSION AUTHORIZATION;\nALTER ROLE a IN DATABASE d SET search_path TO 'x';\n\
                     CREATE TABLESPACE t OWNER a LOCATION '/x';\nALTER TABLESPACE t SET (seq_page_cost=1);\n\
                     DROP ROLE IF EXISTS a;\nSECURITY LABEL FOR x ON ROLE a IS 'y';\n";
        assert_eq!(without_commands(usual, "globals").unwrap(), usual);
        for hostile in [
            "CREATE ROLE app;\n\\! id\n",
            "CREATE ROLE app; \\! id\n",
            "SELECT 1 \\gexec\n",
            "/* ' */ \\! id\n'",
            "COPY t FROM stdin;\n'\n\\.\n\\! id\n--'",
            "SET standard_conforming_strings = off;\nCOMMENT ON ROLE a IS '\\'' \\! id\n--';",
            "SET SESSION standard_conforming_strings TO off;\n",
            "SET client_encoding = 'SJIS';\nCOMMENT ON ROLE a IS 'x' \\! id\n--';",
            "SET client_encoding = E'SJ\\111S';\n",
            "SET U&\"standard\\005fconforming_strings\" = off;\n",
            "SET NAMES 'gbk';\n",
            "SET SESSION AUTHORIZATION a; SELECT 1;\n",
            "SET SESSION AUTHORIZATION a b;\n",
            "CREATE TEMP TABLE t AS SELECT set_config('standard_conforming_strings', 'off', false);\n",
            "ALTER TABLE t ALTER c SET DEFAULT f();\n",
            "CREATE INDEX i ON t (f());\n",
            "/* x */ SET client_encoding = 'SJIS';\n",
            "SELECT set_config('client_encoding', 'SJIS', false);\n",
            "DO $$ begin perform 1; end $$;\n",
        ] {
            assert_eq!(without_commands(hostile, "globals").unwrap_err().kind(), Kind::Refused, "{hostile}");
        }
    }
}
