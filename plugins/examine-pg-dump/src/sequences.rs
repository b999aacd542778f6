//! The values of sequences.

use std::collections::BTreeMap;

use longshore_core::drill::{Comparison, ComparisonOutcome};
use longshore_pg_archive::{Facts, Sequence};

use crate::environment::Environment;
use crate::tables::creates;
use crate::{compared, unless_explained};

/// Compares the sequences with their record.
pub(crate) fn compare(recorded: &Facts, found: &Facts, environment: &Environment) -> Vec<Comparison> {
    let mut left: BTreeMap<String, &Sequence> =
        found.sequences.iter().map(|sequence| (name(sequence), sequence)).collect();
    let mut all = Vec::new();
    for expected in &recorded.sequences {
        let subject = format!("sequence {}", name(expected));
        let version_difference = || {
            environment.version_difference(
                &name(expected),
                creates(recorded, "SEQUENCE", expected.schema.as_deref(), &expected.name),
            )
        };
        let reason =
            || version_difference().or_else(|| environment.trigger_writes()).or_else(|| environment.refresh_writes());
        all.push(match left.remove(&name(expected)) {
            Some(found) => unless_explained(reason(), compared(&subject, "value", &value(expected), &value(found))),
            None => unless_explained(
                version_difference(),
                Comparison {
                    subject,
                    aspect: "presence".to_owned(),
                    expected: Some(value(expected)),
                    found: Some("missing".to_owned()),
                    outcome: ComparisonOutcome::Different,
                },
            ),
        });
    }
    all.extend(left.into_values().map(|found| Comparison {
        subject: format!("sequence {}", name(found)),
        aspect: "value".to_owned(),
        expected: None,
        found: Some(value(found)),
        outcome: ComparisonOutcome::Not("the backup has no record of its value".to_owned()),
    }));
    all
}

/// Returns `schema.name`.
fn name(sequence: &Sequence) -> String {
    match &sequence.schema {
        Some(schema) => format!("{schema}.{}", sequence.name),
        None => sequence.name.clone(),
    }
}

/// Returns the value, and whether it was used: the next value depends on it.
fn value(sequence: &Sequence) -> String {
    let called = if sequence.called { "" } else { ", not yet used" };
    format!("{}{called}", sequence.value)
}
