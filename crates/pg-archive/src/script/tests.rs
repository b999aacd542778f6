use std::io::{BufRead, BufReader, Read};

use super::*;
use crate::error::ErrorKind;

const BEGIN: &str = "--\n-- PostgreSQL database dump\n--\n\n";
const END: &str = "--\n-- PostgreSQL database dump complete\n--\n\n";

/// A script with everything that can hide semicolons, commands or data.
const SQL: &str = r#"-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 17.11

SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;

CREATE FUNCTION public.f() RETURNS text LANGUAGE sql AS $_$
COPY public.orders (id) FROM stdin;
-- PostgreSQL database dump complete
\. $$ ; ' $_ $_$;
CREATE FUNCTION "public".begin(integer) RETURNS integer LANGUAGE sql BEGIN ATOMIC
 SELECT CASE WHEN ($1 > 1) THEN 2 ELSE 3 END;
 SELECT 'x';
END;
CREATE RULE r AS ON INSERT TO t DO ( SELECT 1; SELECT 2; );
COMMENT ON TABLE t IS E'it\'s\\';
COMMENT ON TABLE "a"";
-- PostgreSQL database dump complete
" IS 'it''s \'; /* ; /* ' */ ; */
CREATE VIEW v AS SELECT date'2020-01-01', 1 - 2 / 3 -- ;
  , a$b$c, '$$';

--
-- Data for Name: orders; Type: TABLE DATA; Schema: public; Owner: me
--

COPY public.orders (id, "what;", t) FROM stdin;
1	\\.	é
2	-- PostgreSQL database dump complete	'
\.


--
-- Data for Name: part; Type: TABLE DATA; Schema: public; Owner: me
--

-- load via partition root public.whole

ALTER TABLE public.part DISABLE TRIGGER ALL;

COPY public.whole (id) FROM stdin;
\.


--
-- Data for Name: insert; Type: TABLE DATA; Schema: a b; Owner: me
--

SET SESSION AUTHORIZATION 'me';

INSERT INTO "a b".insert VALUES (1, 'x');
INSERT INTO "a b".insert VALUES (2, '
INSERT INTO x');


--
-- Data for Name: empty; Type: TABLE DATA; Schema: public; Owner: me
--



--
-- Data for Name: BLOBS; Type: BLOBS; Schema: -; Owner: -
--

BEGIN;

SELECT pg_catalog.lo_open('16400', 131072);
SELECT pg_catalog.lowrite(0, '\x5c');
SELECT pg_catalog.lo_close(0);

COMMIT;

"#;

fn script() -> String {
    format!("{BEGIN}\\restrict key1\n\n{SQL}{END}\\unrestrict key1\n\n")
}

fn cluster() -> String {
    let of_database = |name: &str| format!("{BEGIN}\\restrict b\n\n\\unrestrict b\n{name}\n\\restrict b\n\n{SQL}{END}");
    format!(
        "--\n-- PostgreSQL database cluster dump\n--\n\n\\restrict a\n\nCREATE ROLE me;\n\n\\unrestrict a\n\n\\connect template1\n\n\
         {}\\unrestrict b\n\n{}\\unrestrict b\n\n--\n-- PostgreSQL database cluster dump complete\n--\n\n",
        of_database("\\connect one"),
        of_database("\\encoding SQL_ASCII\n\\connect -reuse-previous=on \"dbname='two 2'\""),
    )
}

fn facts_of(bytes: impl BufRead) -> Result<Facts> {
    read(Input::new(bytes), &mut |_| ())
}

/// Returns the error of SQL in the middle of a script, which must not depend on the sizes of the
/// pieces.
fn error_of(sql: &[u8]) -> Error {
    let script = &[BEGIN.as_bytes(), b"SET client_encoding = 'UTF8';\n", sql, END.as_bytes()].concat()[..];
    let error = facts_of(script).unwrap_err();
    for at in BEGIN.len()..script.len() {
        assert_eq!(facts_of(script[..at].chain(&script[at..])).unwrap_err().to_string(), error.to_string(), "{at}");
    }
    error
}

#[test]
fn reads_facts_of_script() {
    let mut reported = Vec::new();
    let facts = read(Input::new(script().as_bytes()), &mut |part| reported.push(part.clone())).unwrap();
    assert_eq!((facts.format, facts.compression), (Format::Script, Compression::None));
    assert_eq!(facts.origin.server_version.as_deref(), Some("15.18 (Debian 15.18-0+deb12u1)"));
    assert_eq!(facts.origin.tool_version.as_deref(), Some("17.11"));
    assert_eq!(facts.origin.database, None);
    assert_eq!((facts.large_objects.count, facts.bytes), (1, script().len() as u64));

    let names = facts.tables.iter().map(|table| (table.schema.as_deref(), &*table.name, table.rows));
    let expected = [
        (Some("public"), "orders", Some(2)),
        (Some("public"), "part", Some(0)),
        (Some("a b"), "insert", None),
        (Some("public"), "empty", None),
    ];
    assert_eq!(names.collect::<Vec<_>>(), expected);
    assert_eq!(facts.tables[0].columns.as_deref(), Some(&["id".to_owned(), "what;".to_owned(), "t".to_owned()][..]));
    assert_eq!(facts.tables[1].into.as_deref(), Some("public.whole"));

    let reported = reported.iter().map(|part| (&*part.name, part.done, part.total)).collect::<Vec<_>>();
    assert_eq!(reported, [("public.orders", 0, None), ("public.part", 1, None), ("a b.insert", 2, None)]);
}

#[test]
fn table_digests_equal_those_of_archive() {
    let tables = facts_of(script().as_bytes()).unwrap().tables;
    let of_insert =
        "INSERT INTO \"a b\".insert VALUES (1, 'x');\nINSERT INTO \"a b\".insert VALUES (2, '\nINSERT INTO x');\n\n\n";
    for (table, data) in [
        (&tables[0], "1\t\\\\.\té\n2\t-- PostgreSQL database dump complete\t'\n"),
        (&tables[1], ""),
        (&tables[2], of_insert),
        (&tables[3], "\n\n"),
    ] {
        let digest = format!("{:032x}", crate::digest::digest(data.as_bytes()));
        assert_eq!((table.bytes, &table.xxh3), (data.len() as u64, &digest), "{}", table.name);
    }
}

#[test]
fn records_database_of_each_table() {
    let facts = facts_of(cluster().as_bytes()).unwrap();
    assert_eq!((facts.format, facts.origin.database), (Format::ClusterScript, None));
    let databases = facts.tables.iter().map(|table| table.database.as_deref()).collect::<Vec<_>>();
    assert_eq!(databases, [[Some("one"); 4], [Some("two 2"); 4]].concat());
}

#[test]
fn records_created_roles() {
    let script = cluster().replacen("CREATE ROLE me;", "CREATE ROLE me;\nCREATE ROLE \"a\"\"b; c\";", 1);
    let made = facts_of(script.as_bytes()).unwrap().created_roles;
    assert_eq!(made.iter().collect::<Vec<_>>(), ["a\"b; c", "me"]);
    // The longest possible name, of characters that are doubled.
    let longest = "\"".repeat(63);
    let script = cluster().replacen("CREATE ROLE me;", &format!("CREATE ROLE \"{}\";", "\"".repeat(126)), 1);
    assert_eq!(facts_of(script.as_bytes()).unwrap().created_roles, [longest].into());
}

#[test]
fn records_database_of_connect() {
    let script = format!("{BEGIN}CREATE DATABASE one;\n\n\\connect one\n\n{END}");
    assert_eq!(facts_of(script.as_bytes()).unwrap().origin.database.as_deref(), Some("one"));
}

#[test]
fn detects_truncation_at_every_byte() {
    let before_restrict = format!("{BEGIN}{SQL}{END}");
    for script in [script(), cluster(), before_restrict] {
        for length in 0..script.len() {
            let error = facts_of(&script.as_bytes()[..length]).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Damaged, "{length}: {error}");
            assert!(error.offset <= length as u64, "{length}: {error}");
            assert!(error.message.contains("it is cut"), "{length}: {error}");
        }
    }
}

#[test]
fn only_empty_lines_may_follow_end() {
    for more in ["\n", "\n\n", " \t\r\n"] {
        for script in [script(), cluster(), format!("{BEGIN}{END}")] {
            let longer = format!("{script}{more}");
            assert_eq!(facts_of(longer.as_bytes()).unwrap().bytes, longer.len() as u64, "{more:?}");
        }
    }
    for more in ["--\n", "\n--\n", "\0", "\u{a0}", "SELECT 1;\n", "\\unrestrict key1\n\n", END] {
        for script in [script(), cluster(), format!("{BEGIN}{END}")] {
            let error = facts_of(format!("{script}{more}").as_bytes()).unwrap_err();
            assert_eq!((error.place.as_str(), error.kind), ("end of the script", ErrorKind::Damaged), "{more:?}");
        }
    }
}

#[test]
fn facts_do_not_depend_on_piece_sizes() {
    for script in [script(), cluster()] {
        let script = script.as_bytes();
        let facts = facts_of(script).unwrap();
        for at in 0..script.len() {
            assert_eq!(facts_of(script[..at].chain(&script[at..])).unwrap(), facts, "{at}");
        }
        for capacity in 1..40 {
            assert_eq!(facts_of(BufReader::with_capacity(capacity, script)).unwrap(), facts, "{capacity}");
        }
    }
}

#[test]
fn unclosed_element_is_reported_at_its_start() {
    let began = (BEGIN.len() + "SET client_encoding = 'UTF8';\n".len()) as u64;
    for (sql, at, place) in [
        ("SELECT 1\n", 0, "statement"),
        ("SELECT 'x\n;", 7, "quoted string"),
        ("SELECT E'x\\';", 8, "quoted string"),
        ("SELECT U&\"x;", 9, "quoted name"),
        ("SELECT $a$ $b$ $a ; ", 7, "dollar-quoted string"),
        ("SELECT /* /* */ ;", 7, "comment"),
        ("/* ; /* */ ;\n", 0, "comment"),
        ("SELECT (1;\n", 0, "statement"),
        ("CREATE FUNCTION f BEGIN ATOMIC SELECT CASE 1 END;\n", 0, "statement"),
        ("COPY public.t (a) FROM stdin;\n1\n2\n", 0, "data of table public.t"),
    ] {
        let error = error_of(sql.as_bytes());
        assert_eq!((error.offset, error.place.as_str()), (began + at, place), "{sql}");
        assert!(error.message.contains("it is cut"), "{error}");
    }
}

#[test]
fn rejects_script_that_pg_dump_never_writes() {
    for (sql, message) in [
        (&b"COPY public.t FROM stdin WITH CSV;\n1\n\\.\n"[..], "differs from pg_dump's form"),
        (b"COPY public.t (a) FROM stdin; 1\n\\.\n", "a line feed was expected"),
        (b"COPY public.t (a) FROM stdin;\n1\t2\n\\.\n", "row 1 has 2 columns, where 1 were expected"),
        (b"COPY public.t (a) FROM stdin;\n\xff\n\\.\n", "not UTF-8"),
        (b"COPY public.t (a) FROM stdin;\n\0\n\\.\n", "zero byte"),
        (b"INSERT INTO t VALUES ('\xff');\n", "not UTF-8"),
        (b"SET statement_ti\x9d\x9aout = 0;\nSET lock_t\xe2\x82 = \\0;\n", "not UTF-8"),
        (b"SELECT \\ '\xff';\n", "a backslash outside of quotes"),
        (b"\0", "zero byte"),
        (b"-- \0\n", "zero byte"),
        (b"1\t2\n\\.\n", "a backslash outside of quotes"),
        (b"\\.\n", "not a command that pg_dump writes"),
        (b"\\! reboot\n", "not a command that pg_dump writes"),
        (b"\\restrict a\n\\connect b\n", "\\unrestrict a was expected"),
        (b"\\restrict a\n\\unrestrict b\n", "the key a was expected"),
        (b"\\restrict a\n", "does not continue with"),
        (b"--\n-- PostgreSQL database dump\n--\n", "another dump begins here"),
        (b"SELECT $a", "within it"),
    ] {
        let error = error_of(sql);
        let sql = String::from_utf8_lossy(sql);
        assert_eq!(error.kind, ErrorKind::Damaged, "{sql}");
        let is_cut = message == "does not continue with" && error.message.contains("it is cut");
        assert!(error.message.contains(message) || is_cut, "{sql}: {error}");
    }
}

#[test]
fn detects_incomplete_database_of_cluster() {
    let mark = "-- PostgreSQL database dump complete\n";
    let first = cluster().find(&format!("\n{mark}--\n\n\\unrestrict b\n")).unwrap() + 1;
    let mut without = cluster();
    without.replace_range(first..first + mark.len(), "");
    let error = facts_of(without.as_bytes()).unwrap_err();
    assert!(error.message.contains("the one before, which"), "{error}");

    let last = cluster().rfind(mark).unwrap();
    let mut without = cluster();
    without.replace_range(last..last + mark.len(), "");
    let error = facts_of(without.as_bytes()).unwrap_err();
    assert!(error.message.contains("not that of a database that began at byte"), "{error}");
}

#[test]
fn checks_text_in_encoding_set_last() {
    let script = |sql: &[u8]| facts_of(&[BEGIN.as_bytes(), sql, END.as_bytes()].concat()[..]);
    let [utf8, latin1] = ["UTF8", "LATIN1"].map(|name| format!("SET client_encoding = '{name}';\n").into_bytes());
    let copy = b"COPY public.t (a) FROM stdin;\n\xff\n\\.\n\n\n";
    assert!(script(&[b"SELECT '\xff';\n", &utf8[..]].concat()).is_ok());
    assert!(script(&[&utf8[..], &latin1, copy].concat()).is_ok());
    assert!(script(&[&latin1[..], &utf8, copy].concat()).is_err());
    assert!(script(&[&utf8[..], b"\\connect other\n", copy].concat()).is_ok());
}

#[test]
fn accepts_backslash_as_second_byte() {
    let sql = b"SET client_encoding = 'SJIS';\nSELECT E'\x95\\';\n";
    assert!(facts_of(&[BEGIN.as_bytes(), sql, END.as_bytes()].concat()[..]).is_ok());
}

#[test]
fn accepts_backslash_escapes_of_old_servers() {
    let sql = "SET standard_conforming_strings = off;\nSELECT 'it\\'s; \\\\';\nSET standard_conforming_strings = on;\nSELECT '\\';\n";
    facts_of(format!("{BEGIN}{sql}{END}").as_bytes()).unwrap();
}

#[test]
fn other_scripts_are_unsupported() {
    assert_eq!(facts_of(&b"-- mine\nSELECT 1;\n"[..]).unwrap_err().kind, ErrorKind::Unsupported);
}

#[test]
fn hostile_scripts_end_in_bounded_time() {
    const LENGTH: usize = 1 << 20;
    for part in [
        "\\",
        "/*",
        "*/",
        "$",
        "$a",
        "'",
        "\"",
        "E'",
        "(",
        ")",
        "-",
        "--",
        "-- \n",
        ";",
        "\n",
        "E'\\",
        "/*/",
        "COPY ",
        "INSERT INTO \n",
        "BEGIN ATOMIC ",
        "-- Data for Name: ; Type: TABLE DATA; Schema: ; Owner: \n",
        "\\connect a\n",
    ] {
        for before in
            ["", "SELECT ", "SELECT E'", "CREATE FUNCTION f BEGIN ATOMIC ", "COPY \"", "/*", "$a$", "\\connect "]
        {
            let hostile = format!("{before}{}", part.repeat(LENGTH / part.len()));
            // Parsing always ends.
            let _either = facts_of(format!("{BEGIN}{hostile}").as_bytes()).is_ok();
        }
    }
}

#[test]
fn changed_byte_never_panics() {
    for script in [script(), cluster()] {
        let mut script = script.into_bytes();
        for at in 0..script.len() {
            let byte = script[at];
            for other in [0, b'\n', b'\'', b'"', b'$', b'\\', b';', b'-', b'(', 0xff, byte ^ 1] {
                script[at] = other;
                if let Err(error) = facts_of(&script[..]) {
                    assert!(error.offset <= script.len() as u64);
                }
            }
            script[at] = byte;
        }
    }
}
