//! Plans the order of a restore: data first, so that derived objects, and objects that need more
//! rights, cannot undo it.
//!
//! - [`Step::Before`]: the database, its owner and its settings. A failed setting is skipped.
//! - [`Step::Main`]: definitions and data. A failure aborts the restore.
//! - [`Step::After`]: indexes, constraints, triggers, policies, privileges, comments. A failed
//!   entry is skipped.
//! - [`Step::Last`]: views to refresh, publications, subscriptions, event triggers, and privileges
//!   of missing roles. A failed entry is skipped.

use std::collections::{BTreeSet, HashMap};

use longshore_core::left_out::Nature;
use longshore_pg_archive::outline::{Item, Outline, Section};

/// A step of a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// Entries of the database itself.
    Before,
    /// Entries that must all succeed.
    Main,
    /// Entries restored in one run, each of which may fail.
    After,
    /// Entries restored one by one, in the order of their ranks.
    Last(u8),
}

/// The entries of each step, in order.
#[derive(Debug, Default)]
pub(crate) struct Plan<'a> {
    pub(crate) main: Vec<&'a Item>,
    pub(crate) after: Vec<&'a Item>,
    pub(crate) last: Vec<&'a Item>,
}

/// The treatment of indexes, constraints and triggers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Structure {
    /// Indexes, constraints and triggers follow the data, and a failed one is skipped.
    Apart,
    /// Indexes, constraints and triggers are restored with the data: existing objects could be
    /// mistaken for them, or the database replaces another.
    WithData,
}

impl<'a> Plan<'a> {
    /// Plans the restore of the entries with these ids. `missing` are roles that the target lacks.
    pub(crate) fn new(outline: &'a Outline, ids: &[i32], structure: Structure, missing: &BTreeSet<&str>) -> Self {
        let items: HashMap<i32, &Item> = outline.items.iter().map(|item| (item.id, item)).collect();
        let mut plan = Self::default();
        let mut last = Vec::new();
        for item in ids.iter().filter_map(|id| items.get(id).copied()) {
            match step(item, structure, missing) {
                Step::Before => {}
                Step::Main => plan.main.push(item),
                Step::After => plan.after.push(item),
                Step::Last(rank) => last.push((rank, item)),
            }
        }
        last.sort_by_key(|(rank, _)| *rank);
        plan.last = last.into_iter().map(|(_, item)| item).collect();
        plan
    }
}

impl Plan<'_> {
    /// Returns true if rows are added to existing tables.
    pub(crate) fn is_data_only(&self) -> bool {
        let is_data = |item: &&Item| {
            item.section == Section::Data || matches!(item.kind.as_str(), "BLOB" | "BLOB METADATA" | "SEQUENCE SET")
        };
        self.main.iter().any(|item| item.kind == "TABLE DATA") && self.main.iter().all(is_data)
    }
}

/// Returns true if an entry affects later statements, as event triggers do.
pub(crate) fn is_event_trigger(item: &Item) -> bool {
    item.kind == "EVENT TRIGGER" || item.name.starts_with("EVENT TRIGGER ")
}

/// Returns the step of an entry.
pub(crate) fn step(item: &Item, structure: Structure, missing: &BTreeSet<&str>) -> Step {
    let names_missing = || item.roles.iter().any(|role| missing.contains(role.as_str()));
    let is_of = |kind: &str| item.name.strip_prefix(kind).is_some_and(|name| name.starts_with(' '));
    match item.kind.as_str() {
        // The database itself is created first, with these entries.
        "DATABASE" | "DATABASE PROPERTIES" => Step::Before,
        "USER MAPPING" if names_missing() => Step::Last(0),
        "MATERIALIZED VIEW DATA" => Step::Last(1),
        "PUBLICATION" | "PUBLICATION TABLE" | "PUBLICATION TABLES IN SCHEMA" => Step::Last(2),
        "SUBSCRIPTION" | "SUBSCRIPTION TABLE" => Step::Last(3),
        // From this point on, the trigger would fire for later entries.
        "EVENT TRIGGER" => Step::Last(5),
        "ACL" | "DEFAULT ACL" | "COMMENT" | "SECURITY LABEL" => {
            if is_of("EVENT TRIGGER") {
                Step::Last(6)
            } else if ["DATABASE", "PUBLICATION", "SUBSCRIPTION"].into_iter().any(is_of) || names_missing() {
                Step::Last(4)
            } else {
                Step::After
            }
        }
        "STATISTICS DATA" => Step::After,
        _ if item.section == Section::PostData && structure == Structure::Apart => Step::After,
        _ => Step::Main,
    }
}

/// Returns the severity of an entry that fails after the data.
pub(crate) fn nature(item: &Item) -> Nature {
    match step(item, Structure::WithData, &BTreeSet::new()) {
        Step::Main if item.kind != "USER MAPPING" => Nature::Structural,
        _ => Nature::Derived,
    }
}

/// Returns the entries as a list for pg_restore.
pub(crate) fn list(items: &[&Item]) -> String {
    items.iter().map(|item| format!("{};\n", item.id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: i32, kind: &str, name: &str, section: Section) -> Item {
        let mut item = Item::default();
        (item.id, item.section) = (id, section);
        (item.kind, item.name) = (kind.to_owned(), name.to_owned());
        item
    }

    fn outline() -> Outline {
        let mut grant = item(5, "ACL", "TABLE t", Section::PreData);
        grant.roles = vec!["gone".to_owned()];
        let items = vec![
            item(1, "DATABASE", "d", Section::PreData),
            item(2, "TABLE", "t", Section::PreData),
            item(3, "COMMENT", "EXTENSION plpgsql", Section::PreData),
            item(4, "ACL", "TABLE t", Section::PreData),
            grant,
            item(6, "TABLE DATA", "t", Section::Data),
            item(7, "INDEX", "i", Section::PostData),
            item(8, "EVENT TRIGGER", "acts", Section::PostData),
            item(9, "COMMENT", "EVENT TRIGGER acts", Section::PostData),
            item(10, "PUBLICATION TABLE", "p t", Section::PostData),
            item(11, "MATERIALIZED VIEW DATA", "mv", Section::PostData),
        ];
        Outline { items, encoding: "UTF8".to_owned(), head: Vec::new() }
    }

    fn steps(structure: Structure) -> [Vec<i32>; 3] {
        let outline = outline();
        let ids: Vec<i32> = outline.items.iter().map(|item| item.id).collect();
        let plan = Plan::new(&outline, &ids, structure, &["gone"].into());
        [plan.main, plan.after, plan.last].map(|items| items.iter().map(|item| item.id).collect())
    }

    #[test]
    fn optional_entries_follow_the_data() {
        assert_eq!(steps(Structure::Apart), [vec![2, 6], vec![3, 4, 7], vec![11, 10, 5, 8, 9]]);
        // Existing objects are indistinguishable from created ones, so these entries fail with the
        // data.
        assert_eq!(steps(Structure::WithData)[0], [2, 6, 7]);
    }

    #[test]
    fn failed_index_is_structural() {
        let natures: Vec<_> = outline().items.iter().map(nature).collect();
        let structural: Vec<_> = natures.iter().map(|nature| *nature == Nature::Structural).collect();
        assert_eq!(structural[4..8], [false, true, true, false]);
    }

    #[test]
    fn plan_of_rows_is_data_only() {
        let outline = outline();
        let is_data_only = |ids: &[i32]| Plan::new(&outline, ids, Structure::Apart, &BTreeSet::new()).is_data_only();
        assert!(is_data_only(&[6, 7]));
        assert!(!is_data_only(&[2, 6]) && !is_data_only(&[7]));
    }
}
