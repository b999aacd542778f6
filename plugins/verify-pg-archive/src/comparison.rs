//! Compares the decoded content with the record of the same bytes from their dump.
//!
//! The facts depend on the bytes only, so every difference is damage. Records of versions without
//! definitions are compared as in a drill: by rows, large objects and sequences.

use std::collections::BTreeMap;

use longshore_core::drill::{Comparison, ComparisonOutcome};
use longshore_core::manifest::Verification;
use longshore_core::stage::DEFINITIONS;
use longshore_pg_archive::{Contents, Definitions, Facts, Sequence, Table};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{DETAILS, METHOD};

/// The record of a dump in its details.
pub(crate) struct RecordedFacts {
    facts: Facts,
    has_definitions: bool,
}

impl RecordedFacts {
    /// Reads details. Returns nothing if another stage or an incompatible version wrote them.
    pub(crate) fn of(details: &Map<String, Value>) -> Option<Self> {
        let mut facts = Facts::deserialize(details.get(DETAILS)?).ok()?;
        let definitions = details.get(DEFINITIONS).and_then(|recorded| Definitions::deserialize(recorded).ok());
        let has_definitions = definitions.is_some();
        facts.definitions = definitions.unwrap_or_default();
        Some(Self { facts, has_definitions })
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    pub(crate) fn has_definitions(&self) -> bool {
        self.has_definitions
    }

    /// Compares all facts of a dump that was read completely.
    pub(crate) fn differences(&self, found: &Facts) -> Vec<Comparison> {
        let mut all = tables(&self.facts, found, self.has_definitions);
        all.extend(large_objects(&self.facts, found));
        if self.has_definitions {
            all.extend(self.compare_contents(&found.contents()));
            if all.is_empty() {
                all.extend(compare("dump", "bytes", &self.facts.bytes, &found.bytes));
            }
        } else if !self.facts.sequences.is_empty() {
            all.extend(sequences(&self.facts.sequences, &found.sequences));
        }
        all
    }

    /// Compares the definitions of a dump, and the values of sequences.
    pub(crate) fn compare_contents(&self, found: &Contents) -> Vec<Comparison> {
        let recorded = self.facts.contents();
        let sequences = sequences(&recorded.sequences, &found.sequences);
        let mut all = definitions(&recorded, found);
        if !sequences.is_empty() {
            all.retain(|comparison| !comparison.subject.contains(SEQUENCE_SET) || comparison.aspect != DEFINITION);
        }
        all.extend(sequences);
        all
    }

    /// Compares the totals of the manifest.
    pub(crate) fn compare_totals(&self, verified: &[Verification]) -> Vec<Comparison> {
        let totals: BTreeMap<&str, u64> = self.facts.totals().collect();
        let own = verified.iter().filter(|one| one.method == METHOD && one.by.starts_with("longshore "));
        let counts = own.flat_map(|one| &one.totals);
        counts.filter_map(|(name, count)| compare("manifest", name, totals.get(name.as_str())?, count)).collect()
    }
}

const DEFINITION: &str = "definition";
/// The kind of entry that sets a sequence's value.
const SEQUENCE_SET: &str = "SEQUENCE SET ";

/// Returns a comparison if the two values differ.
fn compare<T: ToString + PartialEq>(subject: &str, aspect: &str, expected: &T, found: &T) -> Option<Comparison> {
    (expected != found).then(|| difference(subject.to_owned(), aspect, &expected.to_string(), &found.to_string()))
}

fn difference(subject: String, aspect: &str, expected: &str, found: &str) -> Comparison {
    Comparison {
        subject,
        aspect: aspect.to_owned(),
        expected: Some(expected.to_owned()),
        found: Some(found.to_owned()),
        outcome: ComparisonOutcome::Different,
    }
}

/// Joins two lists by the names of their items.
fn join_by_name<'a, T>(
    recorded: &'a [T],
    found: &'a [T],
    name: impl Fn(&T) -> String,
) -> BTreeMap<String, (Vec<&'a T>, Vec<&'a T>)> {
    let mut all: BTreeMap<String, (Vec<&T>, Vec<&T>)> = BTreeMap::new();
    recorded.iter().for_each(|item| all.entry(name(item)).or_default().0.push(item));
    found.iter().for_each(|item| all.entry(name(item)).or_default().1.push(item));
    all
}

/// Compares the data of all tables: every recorded fact if `whole`, otherwise only the facts
/// recorded the same way by every version.
fn tables(recorded: &Facts, found: &Facts, whole: bool) -> Vec<Comparison> {
    let mut all = Vec::new();
    for (name, (recorded, found)) in join_by_name(&recorded.tables, &found.tables, table_name) {
        let subject = format!("table {name}");
        for (recorded, found) in recorded.iter().zip(&found) {
            all.extend(table(&subject, recorded, found, whole));
        }
        let rows = |tables: &[&Table]| match tables {
            [] => "missing".to_owned(),
            [first, ..] => first.rows.map_or_else(|| "present".to_owned(), |rows| format!("{rows} rows")),
        };
        if recorded.len() > found.len() {
            all.push(difference(subject, "presence", &rows(&recorded), &rows(&found)));
        } else if recorded.len() < found.len() {
            all.push(difference(subject, "presence", "no data", &rows(&found)));
        }
    }
    all
}

fn table(subject: &str, recorded: &Table, found: &Table, whole: bool) -> Vec<Comparison> {
    let counted = |rows: Option<u64>| rows.map_or_else(|| "not counted".to_owned(), |rows| rows.to_string());
    let listed = |columns: &Option<Vec<String>>| columns.as_deref().unwrap_or_default().join(", ");
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut all: Vec<Comparison> =
        compare(subject, "rows", &counted(recorded.rows), &counted(found.rows)).into_iter().collect();
    if whole {
        all.extend(compare(subject, "columns", &listed(&recorded.columns), &listed(&found.columns)));
        all.extend(compare(subject, "root", &text(&recorded.into), &text(&found.into)));
    }
    if all.is_empty() && whole && recorded.rows.is_none() {
        all.extend(compare(subject, "bytes", &recorded.bytes, &found.bytes));
    }
    if all.is_empty() {
        // A digest adds nothing if a count differs.
        all.extend(compare(subject, "content", &text(&recorded.rows_xxh3), &text(&found.rows_xxh3)));
    }
    if all.is_empty() && whole {
        all.extend(compare(subject, "content", &recorded.xxh3, &found.xxh3));
    }
    all
}

fn large_objects(recorded: &Facts, found: &Facts) -> Vec<Comparison> {
    const SUBJECT: &str = "large objects";
    if recorded.format.is_archive() != found.format.is_archive() {
        return vec![difference("dump".to_owned(), "form", &recorded.format.to_string(), &found.format.to_string())];
    }
    let (recorded, found) = (&recorded.large_objects, &found.large_objects);
    [
        compare(SUBJECT, "number", &recorded.count, &found.count),
        compare(SUBJECT, "bytes", &recorded.bytes, &found.bytes),
        compare(SUBJECT, "content", &recorded.xxh3, &found.xxh3),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn sequences(recorded: &[Sequence], found: &[Sequence]) -> Vec<Comparison> {
    let value = |sequences: &[&Sequence]| {
        let values = sequences.iter().map(|sequence| match sequence.called {
            true => sequence.value.to_string(),
            false => format!("{}, not yet used", sequence.value),
        });
        if sequences.is_empty() { "missing".to_owned() } else { values.collect::<Vec<_>>().join(", ") }
    };
    let all = join_by_name(recorded, found, sequence_name).into_iter();
    all.filter_map(|(name, (recorded, found))| {
        compare(&format!("sequence {name}"), "value", &value(&recorded), &value(&found))
    })
    .collect()
}

/// An entry as in `pg_restore --list`, without the numbers, with the digest of its definition.
type Entry = (String, String);

fn definitions(recorded: &Contents, found: &Contents) -> Vec<Comparison> {
    let (recorded, found) = (entries(recorded), entries(found));
    if recorded == found {
        return Vec::new();
    }
    let mut all = Vec::new();
    for (entry, (recorded, found)) in join_by_name(&recorded, &found, |(entry, _)| entry.clone()) {
        let digests = |entries: &[&Entry]| {
            let mut digests: Vec<_> = entries.iter().map(|(_, digest)| digest.clone()).collect();
            digests.sort_unstable();
            digests
        };
        let presence = |entries: &[&Entry]| if entries.is_empty() { "missing" } else { "present" };
        if recorded.len() != found.len() && (recorded.is_empty() || found.is_empty()) {
            all.push(difference(entry, "presence", presence(&recorded), presence(&found)));
        } else if recorded.len() != found.len() {
            let times = |entries: &[&Entry]| format!("present {} times", entries.len());
            all.push(difference(entry, "presence", &times(&recorded), &times(&found)));
        } else if digests(&recorded) != digests(&found) {
            all.push(difference(entry, DEFINITION, "as recorded", "different"));
        }
    }
    if all.is_empty() {
        all.push(difference("definitions".to_owned(), "order", "as recorded", "different"));
    }
    all
}

fn entries(contents: &Contents) -> Vec<Entry> {
    let Definitions { listed, others } = &contents.definitions;
    let lines = contents.toc.iter().map(|line| line.splitn(4, ' ').nth(3).unwrap_or_default().to_owned());
    // A line without a digest differs from every other.
    let digests = listed.iter().cloned().chain(std::iter::repeat(String::new()));
    let others = others.iter().map(|other| (other.entry.clone(), other.digest.clone()));
    lines.zip(digests).chain(others).collect()
}

/// Returns `schema.name`, prefixed by the database for a script of several databases.
fn qualified(database: Option<&str>, schema: Option<&str>, name: &str) -> String {
    let database = database.map(|database| format!("{database}: ")).unwrap_or_default();
    let schema = schema.map(|schema| format!("{schema}.")).unwrap_or_default();
    format!("{database}{schema}{name}")
}

fn table_name(table: &Table) -> String {
    qualified(table.database.as_deref(), table.schema.as_deref(), &table.name)
}

fn sequence_name(sequence: &Sequence) -> String {
    qualified(sequence.database.as_deref(), sequence.schema.as_deref(), &sequence.name)
}

#[cfg(test)]
mod tests {
    use longshore_core::manifest::Verification;

    use super::*;

    const DATABASE: &str = "--\n-- PostgreSQL database dump\n--\n\n-- Dumped by pg_dump version 15.1\n\n\
        SET client_encoding = 'UTF8';\nSET standard_conforming_strings = on;\n\n\
        --\n-- Name: mood; Type: TYPE; Schema: public; Owner: app\n--\n\nCREATE TYPE public.mood AS ENUM (\n    'good'\n);\n\n\n\
        ALTER TYPE public.mood OWNER TO app;\n\n\
        --\n-- Name: f(); Type: FUNCTION; Schema: public; Owner: app\n--\n\n\
        CREATE FUNCTION public.f() RETURNS integer\n    LANGUAGE sql\n    AS $$ select 1; $$;\n\n\n\
        --\n-- Name: v; Type: VIEW; Schema: public; Owner: app\n--\n\nCREATE VIEW public.v AS\n SELECT 1 AS a;\n\n\n\
        --\n-- Data for Name: t; Type: TABLE DATA; Schema: public; Owner: app\n--\n\n\
        COPY public.t (a, b) FROM stdin;\n1\tone\n2\ttwo\n\\.\n\n\n\
        --\n-- Data for Name: u; Type: TABLE DATA; Schema: public; Owner: app\n--\n\n\
        INSERT INTO public.u VALUES (1);\nINSERT INTO public.u VALUES (2);\n\n\n\
        --\n-- Name: t_id_seq; Type: SEQUENCE SET; Schema: public; Owner: app\n--\n\n\
        SELECT pg_catalog.setval('public.t_id_seq', 42, true);\n\n\n\
        --\n-- Name: t p; Type: POLICY; Schema: public; Owner: app\n--\n\nCREATE POLICY p ON public.t USING ((a = 1));\n\n\n\
        --\n-- PostgreSQL database dump complete\n--\n\n";

    const GLOBALS: &str = "--\n-- PostgreSQL database cluster dump\n--\n\nSET client_encoding = 'UTF8';\n\
        SET standard_conforming_strings = on;\n\n--\n-- Roles\n--\n\n\
        CREATE ROLE app;\nALTER ROLE app WITH NOSUPERUSER LOGIN PASSWORD 'SCRAM-SHA-256$4096:a$b:c';\n\
        CREATE ROLE clerk;\nALTER ROLE clerk WITH NOSUPERUSER NOLOGIN;\n\n\
        --\n-- User Config \"app\"\n--\n\nALTER ROLE app SET work_mem TO '4MB';\n\n\
        GRANT clerk TO app GRANTED BY app;\n\n\
        --\n-- PostgreSQL database cluster dump complete\n--\n\n";

    fn details(script: &str) -> Map<String, Value> {
        let facts = longshore_pg_archive::read(script.as_bytes(), &mut |_| {}).unwrap();
        crate::to_findings(&facts, "").unwrap().details
    }

    fn differences(recorded: &str, found: &str) -> Vec<String> {
        let recorded = RecordedFacts::of(&details(recorded)).unwrap();
        let found = RecordedFacts::of(&details(found)).unwrap();
        recorded.differences(found.facts()).iter().map(Comparison::to_string).collect()
    }

    #[test]
    fn equal_dumps_have_no_differences() {
        for script in [DATABASE, GLOBALS] {
            assert_eq!(differences(script, script), [""; 0]);
        }
    }

    #[test]
    fn changed_content_names_table() {
        for (word, by, expected) in [
            ("2\ttwo\n", "", "table public.t: rows: expected 2, found 1"),
            ("2\ttwo\n", "2\tTwo\n", "table public.t: content: expected "),
            ("1\tone\n2\ttwo\n", "", "table public.t: rows: expected 2, found 0"),
            ("(a, b)", "(b, a)", "table public.t: columns: expected a, b, found b, a"),
            ("1\tone\n2\ttwo\n", "2\ttwo\n1\tone\n", "table public.t: content: expected "),
            ("u VALUES (2)", "u VALUES (3)", "table public.u: content: expected "),
            (", 42,", ", 41,", "sequence public.t_id_seq: value: expected 42, found 41"),
        ] {
            let told = differences(DATABASE, &DATABASE.replace(word, by));
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].starts_with(expected), "{told:?}");
        }
    }

    #[test]
    fn changed_definition_names_entry() {
        for (word, by, expected) in [
            ("select 1;", "select 2;", "FUNCTION public f() app"),
            ("SELECT 1 AS a", "SELECT 2 AS a", "VIEW public v app"),
            ("((a = 1))", "(true)", "POLICY public t p app"),
            ("'good'", "'bad'", "TYPE public mood app"),
        ] {
            let told = differences(DATABASE, &DATABASE.replace(word, by));
            assert_eq!(told, [format!("{expected}: definition: expected as recorded, found different")]);
        }
        let role = |statement: &str| format!("{statement}: definition: expected as recorded, found different");
        for (word, by, expected) in [
            ("app WITH NOSUPERUSER", "app WITH SUPERUSER", role("ALTER ROLE app")),
            ("4096:a$b:c", "4096:a$b:d", role("ALTER ROLE app")),
            ("'4MB'", "'5MB'", role("ALTER ROLE app")),
            ("TO app GRANTED", "TO app WITH ADMIN OPTION GRANTED", role("GRANT clerk TO app")),
            ("CREATE ROLE clerk;\n", "", "CREATE ROLE clerk: presence: expected present, found missing".to_owned()),
            (
                "CREATE ROLE clerk",
                "CREATE ROLE a;\nCREATE ROLE clerk",
                "CREATE ROLE a: presence: expected missing, found present".to_owned(),
            ),
        ] {
            let told = differences(GLOBALS, &GLOBALS.replace(word, by));
            assert_eq!(told, [expected]);
            assert!(!told[0].contains("SCRAM"), "{told:?}");
        }
    }

    #[test]
    fn detects_swapped_statements() {
        let (one, other) = ("CREATE ROLE app;\n", "CREATE ROLE clerk;\n");
        let swapped = GLOBALS.replace(one, "@").replace(other, one).replace('@', other);
        assert_eq!(differences(GLOBALS, &swapped), ["definitions: order: expected as recorded, found different"]);
    }

    #[test]
    fn compares_older_records_by_rows() {
        let mut recorded = details(DATABASE);
        recorded.remove(DEFINITIONS);
        let told = |by: &str| {
            let found = details(&DATABASE.replace("2\ttwo\n", by).replace("select 1;", "select 2;"));
            let recorded = RecordedFacts::of(&recorded).unwrap();
            recorded.differences(RecordedFacts::of(&found).unwrap().facts()).len()
        };
        assert_eq!((told("2\ttwo\n"), told(""), told("2\tTwo\n")), (0, 1, 1));
        assert!(RecordedFacts::of(&Map::new()).is_none());
    }

    #[test]
    fn compares_totals_of_manifest() {
        let facts = longshore_pg_archive::read(DATABASE.as_bytes(), &mut |_| {}).unwrap();
        let mut verification: Verification = crate::to_findings(&facts, "").unwrap().verification;
        let recorded = RecordedFacts::of(&details(DATABASE)).unwrap();
        let told = |verification: &Verification| {
            let all = recorded.compare_totals(std::slice::from_ref(verification));
            all.iter().map(Comparison::to_string).collect::<Vec<_>>()
        };
        assert_eq!(told(&verification), [""; 0]);
        verification.totals.insert("rows".to_owned(), 3);
        assert_eq!(told(&verification), ["manifest: rows: expected 2, found 3"]);
        verification.by = "pg_restore 17.4".to_owned();
        assert_eq!(told(&verification), [""; 0]);
    }
}
