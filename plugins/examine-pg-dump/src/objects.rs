//! All that a dump lists, held against what the first dump listed: by kind and name, and by owner.

use std::collections::{BTreeMap, BTreeSet};

use longshore_core::drill::{Compared, Comparison};
use longshore_core::manifest::Manifest;
use longshore_pg_archive::Facts;
use longshore_pg_archive::listing::{description, split_owner};

use crate::surroundings::Surroundings;
use crate::unless;

/// The kinds of entries whose names are of several words: what stands behind them in a line begins after the longest that fits.
const KINDS: [&str; 36] = [
    "ACCESS METHOD",
    "ACL LANGUAGE",
    "BLOB COMMENTS",
    "BLOB METADATA",
    "CHECK CONSTRAINT",
    "DATABASE PROPERTIES",
    "DEFAULT ACL",
    "EVENT TRIGGER",
    "FK CONSTRAINT",
    "FOREIGN DATA WRAPPER",
    "FOREIGN SERVER",
    "FOREIGN TABLE",
    "INDEX ATTACH",
    "MATERIALIZED VIEW DATA",
    "MATERIALIZED VIEW",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "PROCEDURAL LANGUAGE",
    "PUBLICATION TABLES IN SCHEMA",
    "PUBLICATION TABLE",
    "ROW SECURITY",
    "SECURITY LABEL",
    "SEQUENCE OWNED BY",
    "SEQUENCE SET",
    "SHELL TYPE",
    "STATISTICS DATA",
    "SUBSCRIPTION TABLE",
    "TABLE ATTACH",
    "TABLE DATA",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "TEXT SEARCH PARSER",
    "TEXT SEARCH TEMPLATE",
    "USER MAPPING",
    "LARGE OBJECTS",
    "LARGE OBJECT",
];

/// Kinds that are data, held against their record by what they hold; releases differ in how they list them.
const DATA: [&str; 7] =
    ["TABLE DATA", "SEQUENCE SET", "BLOB", "BLOBS", "BLOB METADATA", "STATISTICS DATA", "MATERIALIZED VIEW DATA"];

/// An entry of the list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Object<'a> {
    kind: &'a str,
    /// Its schema and name, as the list has them.
    name: &'a str,
}

/// Whose objects there are, by what they are; several may be called the same.
type Objects<'a> = BTreeMap<Object<'a>, Vec<&'a str>>;

/// Compares the list with the record, but for the lines of what a restore left out.
pub(crate) fn compare(
    recorded: &Facts,
    found: &Facts,
    left_out: &[String],
    manifest: &Manifest,
    surroundings: &Surroundings,
) -> Vec<Comparison> {
    if !recorded.kind.is_archive() {
        return vec![not("objects", "presence", "a script has no list of what is in it; its tables were compared")];
    }
    let roles: BTreeSet<&str> = recorded.roles.iter().chain(&found.roles).map(String::as_str).collect();
    let (mut before, mut after) = (objects(&recorded.toc, &roles), objects(&found.toc, &roles));
    let left_out = objects(left_out, &roles);
    for objects in [&mut before, &mut after] {
        objects.retain(|object, _| !left_out.contains_key(object));
    }
    if !recorded.tables.is_empty() && before.is_empty() {
        return vec![not("objects", "presence", "the backup is of data alone")];
    }
    let outdated = !surroundings.versions().is_empty();
    let mut all = materialized_views(&before);
    let kinds: BTreeSet<&str> = before.keys().chain(after.keys()).map(|object| object.kind).collect();
    for kind in kinds {
        let apart: Vec<_> =
            names(kind, &before, &after).flat_map(|object| one(&object, &before, &after, manifest)).collect();
        let apart: Vec<Comparison> = apart
            .into_iter()
            .map(|(object, comparison)| unless(of_extension(&object, recorded, outdated), comparison))
            .collect();
        all.push(number(kind, &before, &after, &apart));
        all.extend(apart);
    }
    all
}

fn not(subject: &str, aspect: &str, why: &str) -> Comparison {
    let (subject, aspect) = (subject.to_owned(), aspect.to_owned());
    Comparison { subject, aspect, expected: None, found: None, outcome: Compared::Not(why.to_owned()) }
}

/// Takes the lines of a list apart: `id; catalog oid KIND schema name owner`.
fn objects<'a>(toc: &'a [String], roles: &BTreeSet<&str>) -> Objects<'a> {
    let mut objects = Objects::new();
    for line in toc {
        let Some(rest) = description(line) else { continue };
        let known = KINDS.iter().find(|kind| rest.strip_prefix(**kind).is_some_and(|rest| rest.starts_with(' ')));
        let kind = known.map_or_else(|| rest.split(' ').next().unwrap_or_default(), |kind| &rest[..kind.len()]);
        let rest = rest[kind.len()..].trim_start_matches(' ');
        let of_large_object =
            matches!(kind, "ACL" | "COMMENT" | "SECURITY LABEL") && rest.starts_with("- LARGE OBJECT");
        // Where views depend on one another, pg_dump chooses by chance which of them it makes in two steps.
        let second_step = kind == "RULE" && rest.contains(" _RETURN ");
        if DATA.contains(&kind) || of_large_object || second_step {
            continue;
        }
        let (name, owner) = split_owner(rest, roles);
        objects.entry(Object { kind, name }).or_default().push(owner);
    }
    objects.values_mut().for_each(|owners| owners.sort_unstable());
    objects
}

fn names<'a>(kind: &'a str, before: &'a Objects<'a>, after: &'a Objects<'a>) -> impl Iterator<Item = Object<'a>> {
    let all: BTreeSet<Object<'a>> =
        before.keys().chain(after.keys()).filter(|object| object.kind == kind).cloned().collect();
    all.into_iter()
}

/// How many there are of a kind; what follows is what follows from each that differs.
fn number(kind: &str, before: &Objects<'_>, after: &Objects<'_>, apart: &[Comparison]) -> Comparison {
    let count = |objects: &Objects<'_>| -> usize {
        objects.iter().filter(|(object, _)| object.kind == kind).map(|(_, owners)| owners.len()).sum()
    };
    let worst = |found: fn(&Compared) -> bool| apart.iter().map(|comparison| &comparison.outcome).find(|of| found(of));
    let outcome = worst(|outcome| *outcome == Compared::Different)
        .or_else(|| worst(|outcome| matches!(outcome, Compared::Expected(_))))
        .cloned()
        .unwrap_or(Compared::Same);
    Comparison {
        subject: kind.to_lowercase(),
        aspect: "number".to_owned(),
        expected: Some(count(before).to_string()),
        found: Some(count(after).to_string()),
        outcome,
    }
}

/// Holds what is called the same against its record; nothing where it is the same.
fn one<'a>(
    object: &Object<'a>,
    before: &Objects<'_>,
    after: &Objects<'_>,
    manifest: &Manifest,
) -> Option<(Object<'a>, Comparison)> {
    let none = Vec::new();
    let (was, is) = (before.get(object).unwrap_or(&none), after.get(object).unwrap_or(&none));
    if was == is {
        return None;
    }
    let moved = was.len() == is.len();
    let told = |owners: &[&str]| match (owners.len(), moved) {
        (_, true) => owners.join(", "),
        (0, false) => "missing".to_owned(),
        (1, false) => "there".to_owned(),
        (times, false) => format!("there {times} times"),
    };
    let reason = if moved { expected_owner(object, manifest) } else { expected(object, manifest) };
    let comparison = Comparison {
        subject: format!("{} {}", object.kind.to_lowercase(), readable(object.name)),
        aspect: if moved { "owner" } else { "presence" }.to_owned(),
        expected: Some(told(was)),
        found: Some(told(is)),
        outcome: reason.map_or(Compared::Different, |reason| Compared::Expected(reason.to_owned())),
    };
    Some((object.clone(), comparison))
}

/// Why a privilege, a comment or a label may be there or not although the backup is good: what it is of is not made by the dump, but
/// by an extension, and some extension is of another version here.
fn of_extension(object: &Object<'_>, recorded: &Facts, outdated: bool) -> Option<String> {
    if !outdated || !matches!(object.kind, "ACL" | "COMMENT" | "SECURITY LABEL") {
        return None;
    }
    let (schema, of) = object.name.split_once(' ')?;
    let (kind, name) = of.split_once(' ')?;
    let made = recorded.toc.iter().any(|line| line.contains(&format!(" {kind} {schema} {name} ")));
    (!made).then(|| "it may belong to an extension, and versions of extensions differ".to_owned())
}

/// `schema.name`; what lies in no schema has a dash in its place.
fn readable(name: &str) -> String {
    match name.split_once(' ') {
        Some(("-", name)) => name.to_owned(),
        Some((schema, name)) => format!("{schema}.{name}"),
        None => name.to_owned(),
    }
}

/// Why something may be there, or not, in a good restore.
fn expected(object: &Object<'_>, manifest: &Manifest) -> Option<&'static str> {
    match (object.kind, object.name) {
        ("SCHEMA", "- public") | ("ACL" | "COMMENT", "- SCHEMA public") => {
            Some("every database is made with this schema")
        }
        ("COMMENT", name) if name.starts_with("- EXTENSION ") => Some("an extension brings its own comment"),
        ("ACL" | "COMMENT" | "SECURITY LABEL", name) if name.starts_with("- DATABASE ") => {
            Some("it belongs to the database as a whole, which was made under another name")
        }
        ("ACL" | "DEFAULT ACL", _) if manifest.needs.is_empty() => {
            Some("the backup comes without the roles that privileges are given to")
        }
        _ => None,
    }
}

/// Why something may have another owner in a good restore.
fn expected_owner(object: &Object<'_>, manifest: &Manifest) -> Option<&'static str> {
    if object.name.starts_with("pg_catalog ") || expected(object, manifest).is_some() {
        Some("it belongs to whoever made the cluster")
    } else if manifest.needs.is_empty() {
        Some("the backup comes without the roles that own things")
    } else {
        None
    }
}

/// What a dump holds no rows of: a restore makes them anew.
fn materialized_views(before: &Objects<'_>) -> Vec<Comparison> {
    let views = before.keys().filter(|object| object.kind == "MATERIALIZED VIEW");
    let why = "it is filled anew by its query; a dump holds no rows of it";
    views.map(|view| not(&format!("materialized view {}", readable(view.name)), "content", why)).collect()
}
