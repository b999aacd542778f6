//! The roles of a cluster.

use std::collections::BTreeSet;

use longshore_core::Result;
use longshore_core::drill::{Comparison, ComparisonOutcome};
use longshore_pg_client::client::Client;

/// Compares the roles of a cluster with those that the dump creates.
pub(crate) async fn compare(client: &Client, expected: &BTreeSet<String>) -> Result<Vec<Comparison>> {
    if expected.is_empty() {
        return Ok(Vec::new());
    }
    let existing: BTreeSet<String> =
        client.query("select coalesce(json_agg(rolname), '[]') from pg_catalog.pg_roles").await?;
    let missing: Vec<Comparison> = expected.difference(&existing).map(|role| missing(role)).collect();
    let number = Comparison {
        subject: "roles".to_owned(),
        aspect: "number".to_owned(),
        expected: Some(expected.len().to_string()),
        found: Some((expected.len() - missing.len()).to_string()),
        outcome: if missing.is_empty() { ComparisonOutcome::Same } else { ComparisonOutcome::Different },
    };
    Ok([number].into_iter().chain(missing).collect())
}

/// Returns the comparison for a recorded role that is missing.
fn missing(role: &str) -> Comparison {
    Comparison {
        subject: format!("role {role}"),
        aspect: "presence".to_owned(),
        expected: Some("present".to_owned()),
        found: Some("missing".to_owned()),
        outcome: ComparisonOutcome::Different,
    }
}
