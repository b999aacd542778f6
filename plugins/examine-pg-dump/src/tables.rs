//! Rows and their contents, table by table, and large objects.

use std::collections::{BTreeMap, BTreeSet};

use longshore_core::drill::{Comparison, ComparisonOutcome};
use longshore_pg_archive::{Facts, Table};

use crate::environment::Environment;
use crate::{compared, unless_explained};

/// Compares the data of all tables, and the large objects, with their record.
pub(crate) fn compare(recorded: &Facts, found: &Facts, environment: &Environment) -> Vec<Comparison> {
    let mut left: BTreeMap<String, &Table> = found.tables.iter().map(|table| (name(table), table)).collect();
    let mut all = Vec::new();
    let (partitions, own): (Vec<&Table>, Vec<_>) = recorded.tables.iter().partition(|table| table.into.is_some());
    for expected in own {
        let is_created = creates(recorded, "TABLE", expected.schema.as_deref(), &expected.name);
        let reason = environment.version_difference(&name(expected), is_created);
        match left.remove(&name(expected)) {
            Some(found) => {
                let reason = reason.or_else(|| environment.refresh_writes().filter(|_| found.rows > expected.rows));
                let compared = compare_table(expected, found).into_iter();
                all.extend(
                    compared
                        .map(|compared| unless_explained(reason.clone(), unless_environment(environment, compared))),
                );
            }
            None => all.push(unless_explained(reason, missing(expected))),
        }
    }
    let roots: BTreeSet<&str> = partitions.iter().filter_map(|table| table.into.as_deref()).collect();
    for root in roots {
        let of_root = |table: &&Table| table.into.as_deref() == Some(root);
        let expected: Vec<&Table> = partitions.iter().copied().filter(of_root).collect();
        let names: BTreeSet<String> = expected.iter().map(|table| name(table)).collect();
        let together: Vec<&Table> = left
            .iter()
            .filter(|(name, table)| names.contains(*name) || of_root(table))
            .map(|(_, table)| *table)
            .collect();
        left.retain(|name, table| !names.contains(name) && !of_root(&*table));
        let reason = environment.refresh_writes().filter(|_| rows(&together) > rows(&expected));
        let comparisons = compare_partitions(root, &expected, &together).into_iter();
        all.extend(
            comparisons.map(|compared| unless_explained(reason.clone(), unless_environment(environment, compared))),
        );
    }
    all.extend(left.into_values().filter_map(|found| {
        let reason = environment
            .version_difference(&name(found), true)
            .or_else(|| environment.trigger_writes())
            .or_else(|| environment.refresh_writes());
        unexpected_table(found).map(|compared| unless_explained(reason, compared))
    }));
    all.extend(large_objects(recorded, found));
    all
}

/// Returns true if the dump creates the table or sequence whose data it contains; otherwise an
/// extension does. A script has no list of objects.
pub(crate) fn creates(recorded: &Facts, kind: &str, schema: Option<&str>, name: &str) -> bool {
    let entry = format!(" {kind} {} {name} ", schema.unwrap_or("-"));
    recorded.toc.is_empty() || recorded.toc.iter().any(|line| line.contains(&entry))
}

/// Returns the comparison, with a difference attributed to this server if possible: its triggers,
/// or the text form of values.
fn unless_environment(environment: &Environment, comparison: Comparison) -> Comparison {
    let text_form_difference = if comparison.aspect == "content" { environment.text_form_difference() } else { None };
    unless_explained(environment.trigger_writes().or(text_form_difference), comparison)
}

/// Returns `schema.name`.
fn name(table: &Table) -> String {
    match &table.schema {
        Some(schema) => format!("{schema}.{}", table.name),
        None => table.name.clone(),
    }
}

fn comparison(subject: String, aspect: &str, outcome: ComparisonOutcome) -> Comparison {
    Comparison { subject, aspect: aspect.to_owned(), expected: None, found: None, outcome }
}

/// Compares one table with its record.
fn compare_table(expected: &Table, found: &Table) -> Vec<Comparison> {
    let subject = format!("table {}", name(expected));
    let (Some(rows), Some(digest)) = (expected.rows, &expected.rows_xxh3) else {
        let reason = "it was dumped as INSERT statements, whose rows were not counted";
        return vec![comparison(subject, "content", ComparisonOutcome::Not(reason.to_owned()))];
    };
    let mut all = vec![compared(&subject, "rows", &rows, &found.rows.unwrap_or_default())];
    let (before, after) =
        (expected.columns.as_deref().unwrap_or_default(), found.columns.as_deref().unwrap_or_default());
    if before == after {
        all.push(compared(&subject, "content", digest, &found.rows_xxh3.clone().unwrap_or_default()));
    } else if before.iter().collect::<BTreeSet<_>>() == after.iter().collect() {
        // In a table recreated by pg_dump, inherited columns come first.
        let reason = "the restored table has the same columns in another order, so its lines differ";
        all.push(comparison(subject, "content", ComparisonOutcome::Not(reason.to_owned())));
    } else {
        all.push(compared(&subject, "columns", &before.join(", "), &after.join(", ")));
    }
    all
}

/// Compares the partitions whose rows were loaded through their root with their record, as a whole.
fn compare_partitions(root: &str, expected: &[&Table], found: &[&Table]) -> Vec<Comparison> {
    let subject = format!("table {root} with its partitions");
    if expected.iter().any(|table| table.rows.is_none()) {
        let reason = "it was dumped as INSERT statements, whose rows were not counted";
        return vec![comparison(subject, "content", ComparisonOutcome::Not(reason.to_owned()))];
    }
    let digest = |tables: &[&Table]| {
        let digests = tables.iter().filter_map(|table| u128::from_str_radix(table.rows_xxh3.as_deref()?, 16).ok());
        format!("{:032x}", digests.fold(0, u128::wrapping_add))
    };
    let mut all = vec![compared(&subject, "rows", &rows(expected), &rows(found))];
    // Partitions with columns in different orders have different lines for the same row.
    let orders: BTreeSet<_> =
        expected.iter().chain(found).filter(|table| table.rows != Some(0)).map(|table| &table.columns).collect();
    all.push(if orders.len() <= 1 {
        compared(&subject, "content", &digest(expected), &digest(found))
    } else {
        let reason =
            "its partitions have the same columns in different orders, so the line of a row differs between them";
        comparison(subject, "content", ComparisonOutcome::Not(reason.to_owned()))
    });
    all
}

/// Returns the number of rows of several tables.
fn rows(tables: &[&Table]) -> u64 {
    tables.iter().filter_map(|table| table.rows).sum()
}

/// Returns the comparison for a recorded table whose data is missing.
fn missing(expected: &Table) -> Comparison {
    Comparison {
        subject: format!("table {}", name(expected)),
        aspect: "presence".to_owned(),
        expected: Some(expected.rows.map_or_else(|| "present".to_owned(), |rows| format!("{rows} rows"))),
        found: Some("missing".to_owned()),
        outcome: ComparisonOutcome::Different,
    }
}

/// Returns the comparison for a table without recorded data.
fn unexpected_table(found: &Table) -> Option<Comparison> {
    let subject = format!("table {}", name(found));
    match found.rows {
        Some(0) => {
            let reason = "the backup contains no data of it";
            Some(comparison(subject, "content", ComparisonOutcome::Not(reason.to_owned())))
        }
        rows => Some(Comparison {
            subject,
            aspect: "presence".to_owned(),
            expected: Some("no data".to_owned()),
            found: Some(rows.map_or_else(|| "present".to_owned(), |rows| format!("{rows} rows"))),
            outcome: ComparisonOutcome::Different,
        }),
    }
}

/// Compares the large objects with their record.
fn large_objects(recorded: &Facts, found: &Facts) -> Vec<Comparison> {
    const SUBJECT: &str = "large objects";
    let (expected, found) = (&recorded.large_objects, &found.large_objects);
    if expected.count == 0 && found.count == 0 {
        return Vec::new();
    }
    let number = compared(SUBJECT, "number", &expected.count, &found.count);
    if !recorded.format.is_archive() {
        let reason = "a script creates them by function calls, whose content was not recorded";
        return vec![number, comparison(SUBJECT.to_owned(), "content", ComparisonOutcome::Not(reason.to_owned()))];
    }
    let bytes = compared(SUBJECT, "bytes", &expected.bytes, &found.bytes);
    vec![number, bytes, compared(SUBJECT, "content", &expected.xxh3, &found.xxh3)]
}
