//! The selection of entries to restore, as arguments of pg_restore and applied to the record of an
//! archive.

use std::collections::BTreeSet;
use std::fs;

use longshore_core::left_out::{self, LeftOut};
use longshore_core::manifest::{Format, Manifest};
use longshore_core::plugin::{DatabaseTarget, Owners, Privileges, Section, Selection, TargetContent};
use longshore_core::subject::SubjectKind;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_archive::Facts;
use longshore_pg_client::directory::{self, TempDir};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::process::Command;

/// The key of a dump's facts in the details.
const DETAILS: &str = "archive";

/// Returns the recorded facts of an archive, if there are any.
pub(crate) fn facts(details: &Map<String, Value>) -> Option<Facts> {
    details.get(DETAILS).and_then(|facts| Facts::deserialize(facts).ok())
}

/// Fails if a part would replace a whole database, which would be dropped.
pub(crate) fn expect_whole_backup(target: &DatabaseTarget) -> Result<()> {
    if target.content != TargetContent::Replace || target.selection.is_all() {
        return Ok(());
    }
    let message = "a part of a backup cannot replace a whole database";
    Err(Error::new(Stage::Restore, Kind::Usage, "--clean", message)
        .hint("restore it into another database, or drop the conflicting objects and use --append"))
}

/// Fails if parts are selected from a script.
pub(crate) fn expect_archive(target: &DatabaseTarget, manifest: &Manifest) -> Result<()> {
    let chosen = !target.selection.is_all()
        || target.owners != Owners::AsDumped
        || target.privileges != Privileges::AsDumped
        || !target.role_map.is_empty();
    if !chosen || manifest.subject.kind() != SubjectKind::Database || manifest.artifact.format != Format::Plain {
        return Ok(());
    }
    let message = "a script is run unchanged: parts cannot be selected";
    Err(Error::new(Stage::Restore, Kind::Usage, manifest.subject.to_string(), message)
        .hint("write it to a file with --output, and edit the file"))
}

/// A list of entries in a private file, which is deleted when the value is dropped.
pub(crate) struct ListFile(Option<TempDir>);

impl ListFile {
    /// Writes the list, if there is one.
    pub(crate) fn write(target: &DatabaseTarget, list: Option<&str>) -> Result<Self> {
        let Some(list) = list else { return Ok(Self(None)) };
        // The list contains names of tables, but no data, so the system's temporary directory is
        // acceptable.
        let parent = target.scratch_dir.clone().unwrap_or_else(std::env::temp_dir);
        let folder = directory::private_folder(Some(&parent), Stage::Restore)?;
        fs::write(folder.path().join("list"), list)
            .map_err(|error| Error::io(Stage::Restore, "list", "cannot write the list of entries", error))?;
        Ok(Self(Some(folder)))
    }

    /// Adds the list to the arguments of pg_restore.
    pub(crate) fn add_to(&self, command: &mut Command) {
        if let Some(folder) = &self.0 {
            command.arg("--use-list").arg(folder.path().join("list"));
        }
    }
}

/// Adds the arguments for the selection, except for a list.
pub(crate) fn add_arguments(command: &mut Command, target: &DatabaseTarget) {
    let Selection { tables, schemas, sections, .. } = &target.selection;
    command.args(tables.iter().map(|table| format!("--table={table}")));
    command.args(schemas.iter().map(|schema| format!("--schema={schema}")));
    command.args(sections.iter().map(|section| format!("--section={}", section.name())));
    add_role_arguments(command, target);
}

/// Adds the arguments that skip owners and privileges.
pub(crate) fn add_role_arguments(command: &mut Command, target: &DatabaseTarget) {
    if target.owners == Owners::Restorer {
        command.arg("--no-owner");
    }
    if target.privileges == Privileges::OwnerOnly {
        command.arg("--no-privileges");
    }
}

/// Returns the selected lines of the archive's list, as far as they can be determined: a selection
/// of tables and schemas by name includes no entry outside of a schema.
pub(crate) fn lines<'a>(selection: &Selection, facts: &'a Facts) -> Vec<&'a str> {
    let Selection { tables, schemas, list, .. } = selection;
    let listed: Option<BTreeSet<&str>> = list.as_deref().map(|list| list.lines().filter_map(id).collect());
    let by_name = !tables.is_empty() || !schemas.is_empty();
    let is_wanted = |line: &&str| {
        let in_schema = !line.splitn(4, ' ').nth(3).is_some_and(|rest| rest.contains(" - "));
        listed.as_ref().is_none_or(|listed| id(line).is_some_and(|id| listed.contains(id))) && (!by_name || in_schema)
    };
    facts.toc.iter().map(String::as_str).filter(is_wanted).collect()
}

/// Returns the objects selected by name that the archive lacks.
pub(crate) fn missing_objects(selection: &Selection, facts: &Facts) -> Vec<String> {
    if !facts.format.is_archive() || facts.toc.is_empty() {
        return Vec::new();
    }
    // `id; catalog oid KIND schema name owner`: a name may contain spaces, so the code searches for
    // it between spaces.
    let is_listed = |middle: &str| facts.toc.iter().any(|line| line.contains(middle));
    let kinds = ["TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "SEQUENCE", "INDEX"];
    let table = |name: &&String| {
        !facts.tables.iter().any(|table| table.name == **name)
            && !facts.toc.iter().any(|line| {
                let kind = kinds.iter().find(|kind| line.contains(&format!(" {kind} ")));
                kind.is_some() && line.contains(&format!(" {name} "))
            })
    };
    let schema = |name: &&String| {
        !facts.tables.iter().any(|table| table.schema.as_ref() == Some(*name))
            && !is_listed(&format!(" SCHEMA - {name} "))
            && !is_listed(&format!(" {name} "))
    };
    let tables = selection.tables.iter().filter(table).map(|name| format!("table \"{name}\""));
    tables.chain(selection.schemas.iter().filter(schema).map(|name| format!("schema \"{name}\""))).collect()
}

/// Returns the part of the record that the restore covers; nothing if it includes no data, or
/// without a record.
pub(crate) fn restored_details(
    target: &DatabaseTarget,
    details: &Map<String, Value>,
    left_out: &[LeftOut],
) -> Option<Map<String, Value>> {
    let mut facts = facts(details)?;
    let Selection { tables, schemas, sections, list } = &target.selection;
    let has = |section| sections.is_empty() || sections.contains(&section);
    if !has(Section::PreData) || !has(Section::Data) {
        return None;
    }
    let listed: Option<BTreeSet<&str>> = list.as_deref().map(|list| list.lines().filter_map(id).collect());
    let data_of = |schema: Option<&str>, name: &str| {
        let ending = format!(" TABLE DATA {} {name} ", schema.unwrap_or("-"));
        facts.toc.iter().find(|line| line.contains(&ending)).and_then(|line| id(line))
    };
    let wanted: Vec<bool> = facts
        .tables
        .iter()
        .map(|table| {
            (tables.is_empty() || tables.contains(&table.name))
                && (schemas.is_empty() || table.schema.as_ref().is_some_and(|schema| schemas.contains(schema)))
                && listed.as_ref().is_none_or(|listed| {
                    data_of(table.schema.as_deref(), &table.name).is_some_and(|id| listed.contains(id))
                })
        })
        .collect();
    let large_objects = facts.toc.iter().any(|line| {
        (line.contains(" BLOBS ") || line.contains(" BLOB "))
            && listed.as_ref().is_none_or(|listed| id(line).is_some_and(|id| listed.contains(id)))
    });
    let mut wanted = wanted.into_iter();
    facts.tables.retain(|_| wanted.next().unwrap_or_default());
    if !tables.is_empty() || !schemas.is_empty() || listed.is_some() && !large_objects {
        facts.large_objects = longshore_pg_archive::LargeObjects::default();
    }
    let as_listed = target.selection.is_all()
        && target.owners == Owners::AsDumped
        && target.privileges == Privileges::AsDumped
        && target.role_map.is_empty();
    if !as_listed {
        if facts.tables.is_empty() {
            return None;
        }
        facts.toc.clear();
        facts.objects.clear();
        facts.sequences.retain(|sequence| {
            tables.is_empty()
                && listed.is_none()
                && (schemas.is_empty() || sequence.schema.as_ref().is_some_and(|schema| schemas.contains(schema)))
        });
    }
    let mut details = details.clone();
    details.insert(DETAILS.to_owned(), serde_json::to_value(facts).ok()?);
    if !left_out.is_empty() {
        let lines = left_out.iter().map(|entry| Value::from(entry.line.as_str())).collect();
        details.insert(left_out::DETAILS.to_owned(), lines);
    }
    Some(details)
}

/// Returns the id at the start of a line of a list, unless the line is a comment.
pub(crate) fn id(line: &str) -> Option<&str> {
    let id = line.trim_start().split_once(';')?.0;
    (!id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit())).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_have_no_id() {
        assert_eq!(id("217; 1259 16390 TABLE public t app"), Some("217"));
        assert_eq!(id(";217; 1259 16390 TABLE public t app"), None);
        assert_eq!(id("; Archive created at 2026-06-07"), None);
        assert_eq!(id(""), None);
    }
}
