//! Compares the objects that the two dumps list, by kind, name and owner.

use std::collections::{BTreeMap, BTreeSet};

use longshore_core::drill::{Comparison, ComparisonOutcome};
use longshore_core::manifest::Manifest;
use longshore_pg_archive::Facts;
use longshore_pg_archive::listing::{description, split_owner};

use crate::environment::Environment;
use crate::unless_explained;

/// The kinds of entries with names of several words. In a line of the list, the rest begins after
/// the longest kind that matches.
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

/// Kinds of data entries, whose content is compared elsewhere; releases differ in how they list
/// them.
const DATA: [&str; 7] =
    ["TABLE DATA", "SEQUENCE SET", "BLOB", "BLOBS", "BLOB METADATA", "STATISTICS DATA", "MATERIALIZED VIEW DATA"];

/// An entry of the list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Object<'a> {
    kind: &'a str,
    /// The schema and the name, as in the list.
    name: &'a str,
}

/// The owners of objects, by object; several objects may have the same name.
type Objects<'a> = BTreeMap<Object<'a>, Vec<&'a str>>;

/// Compares the list with the record, except for the lines that a restore skipped.
pub(crate) fn compare(
    recorded: &Facts,
    found: &Facts,
    left_out: &[String],
    manifest: &Manifest,
    environment: &Environment,
) -> Vec<Comparison> {
    if !recorded.format.is_archive() {
        return vec![not_compared("objects", "presence", "a script has no list of objects; its tables were compared")];
    }
    let roles: BTreeSet<&str> = recorded.roles.iter().chain(&found.roles).map(String::as_str).collect();
    let (mut before, mut after) = (objects(&recorded.toc, &roles), objects(&found.toc, &roles));
    let left_out = objects(left_out, &roles);
    for objects in [&mut before, &mut after] {
        objects.retain(|object, _| !left_out.contains_key(object));
    }
    if !recorded.tables.is_empty() && before.is_empty() {
        return vec![not_compared("objects", "presence", "the backup contains data only")];
    }
    let outdated = !environment.versions().is_empty();
    let mut all = materialized_views(&before);
    let kinds: BTreeSet<&str> = before.keys().chain(after.keys()).map(|object| object.kind).collect();
    for kind in kinds {
        let differences: Vec<_> = names(kind, &before, &after)
            .flat_map(|object| compare_object(&object, &before, &after, manifest))
            .collect();
        let differences: Vec<Comparison> = differences
            .into_iter()
            .map(|(object, comparison)| unless_explained(of_extension(&object, recorded, outdated), comparison))
            .collect();
        all.push(number(kind, &before, &after, &differences));
        all.extend(differences);
    }
    all
}

fn not_compared(subject: &str, aspect: &str, reason: &str) -> Comparison {
    let (subject, aspect) = (subject.to_owned(), aspect.to_owned());
    Comparison { subject, aspect, expected: None, found: None, outcome: ComparisonOutcome::Not(reason.to_owned()) }
}

/// Parses the lines of a list: `id; catalog oid KIND schema name owner`.
fn objects<'a>(toc: &'a [String], roles: &BTreeSet<&str>) -> Objects<'a> {
    let mut objects = Objects::new();
    for line in toc {
        let Some(rest) = description(line) else { continue };
        let known = KINDS.iter().find(|kind| rest.strip_prefix(**kind).is_some_and(|rest| rest.starts_with(' ')));
        let kind = known.map_or_else(|| rest.split(' ').next().unwrap_or_default(), |kind| &rest[..kind.len()]);
        let rest = rest[kind.len()..].trim_start_matches(' ');
        let of_large_object =
            matches!(kind, "ACL" | "COMMENT" | "SECURITY LABEL") && rest.starts_with("- LARGE OBJECT");
        // For views that depend on each other, pg_dump's choice of the view to create in two steps
        // is arbitrary.
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

/// Compares the number of objects of a kind; the outcome is derived from the comparisons of those
/// that differ.
fn number(kind: &str, before: &Objects<'_>, after: &Objects<'_>, differences: &[Comparison]) -> Comparison {
    let count = |objects: &Objects<'_>| -> usize {
        objects.iter().filter(|(object, _)| object.kind == kind).map(|(_, owners)| owners.len()).sum()
    };
    let worst = |found: fn(&ComparisonOutcome) -> bool| {
        differences.iter().map(|comparison| &comparison.outcome).find(|of| found(of))
    };
    let outcome = worst(|outcome| *outcome == ComparisonOutcome::Different)
        .or_else(|| worst(|outcome| matches!(outcome, ComparisonOutcome::Expected(_))))
        .cloned()
        .unwrap_or(ComparisonOutcome::Same);
    Comparison {
        subject: kind.to_lowercase(),
        aspect: "number".to_owned(),
        expected: Some(count(before).to_string()),
        found: Some(count(after).to_string()),
        outcome,
    }
}

/// Compares the objects of one name with their record; returns nothing if they are the same.
fn compare_object<'a>(
    object: &Object<'a>,
    before: &Objects<'_>,
    after: &Objects<'_>,
    manifest: &Manifest,
) -> Option<(Object<'a>, Comparison)> {
    let none = Vec::new();
    let (expected_owners, found_owners) = (before.get(object).unwrap_or(&none), after.get(object).unwrap_or(&none));
    if expected_owners == found_owners {
        return None;
    }
    let owner_differs = expected_owners.len() == found_owners.len();
    let presence = |owners: &[&str]| match (owners.len(), owner_differs) {
        (_, true) => owners.join(", "),
        (0, false) => "missing".to_owned(),
        (1, false) => "present".to_owned(),
        (times, false) => format!("present {times} times"),
    };
    let reason = if owner_differs { expected_owner(object, manifest) } else { expected(object, manifest) };
    let comparison = Comparison {
        subject: format!("{} {}", object.kind.to_lowercase(), readable(object.name)),
        aspect: if owner_differs { "owner" } else { "presence" }.to_owned(),
        expected: Some(presence(expected_owners)),
        found: Some(presence(found_owners)),
        outcome: reason.map_or(ComparisonOutcome::Different, |reason| ComparisonOutcome::Expected(reason.to_owned())),
    };
    Some((object.clone(), comparison))
}

/// Returns the reason why a privilege, a comment or a label may differ although the backup is good:
/// the dump does not create its object, so an extension does, and the version of some extension
/// differs.
fn of_extension(object: &Object<'_>, recorded: &Facts, outdated: bool) -> Option<String> {
    if !outdated || !matches!(object.kind, "ACL" | "COMMENT" | "SECURITY LABEL") {
        return None;
    }
    let (schema, of) = object.name.split_once(' ')?;
    let (kind, name) = of.split_once(' ')?;
    let is_created = recorded.toc.iter().any(|line| line.contains(&format!(" {kind} {schema} {name} ")));
    (!is_created).then(|| "its object may belong to an extension, and versions of extensions differ".to_owned())
}

/// Returns `schema.name`; an object outside of schemas has a dash instead of the schema.
fn readable(name: &str) -> String {
    match name.split_once(' ') {
        Some(("-", name)) => name.to_owned(),
        Some((schema, name)) => format!("{schema}.{name}"),
        None => name.to_owned(),
    }
}

/// Returns the reason why the presence of an object may differ in a good restore.
fn expected(object: &Object<'_>, manifest: &Manifest) -> Option<&'static str> {
    match (object.kind, object.name) {
        ("SCHEMA", "- public") | ("ACL" | "COMMENT", "- SCHEMA public") => {
            Some("every database is created with this schema")
        }
        ("COMMENT", name) if name.starts_with("- EXTENSION ") => Some("an extension creates its own comment"),
        ("ACL" | "COMMENT" | "SECURITY LABEL", name) if name.starts_with("- DATABASE ") => {
            Some("it belongs to the database itself, which was created under another name")
        }
        ("ACL" | "DEFAULT ACL", _) if manifest.needs.is_empty() => {
            Some("the backup does not include the roles that privileges are granted to")
        }
        _ => None,
    }
}

/// Returns the reason why the owner of an object may differ in a good restore.
fn expected_owner(object: &Object<'_>, manifest: &Manifest) -> Option<&'static str> {
    if object.name.starts_with("pg_catalog ") || expected(object, manifest).is_some() {
        Some("its owner is the bootstrap superuser of the cluster")
    } else if manifest.needs.is_empty() {
        Some("the backup does not include the roles that own objects")
    } else {
        None
    }
}

/// Returns comparisons for materialized views: a dump contains no rows of them, and a restore
/// refreshes them.
fn materialized_views(before: &Objects<'_>) -> Vec<Comparison> {
    let views = before.keys().filter(|object| object.kind == "MATERIALIZED VIEW");
    let reason = "a restore refreshes it by its query; a dump contains no rows of it";
    views.map(|view| not_compared(&format!("materialized view {}", readable(view.name)), "content", reason)).collect()
}
