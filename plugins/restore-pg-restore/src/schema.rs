//! The schemas of selected objects: pg_restore restores the selected objects of a schema, but not
//! the schema itself.

use std::collections::{BTreeMap, BTreeSet};

use longshore_core::error::printable;
use longshore_core::plugin::{DatabaseTarget, Owners, Section, Selection};
use longshore_core::stage::RestoreRequest;
use longshore_core::{Error, Result, Stage};
use longshore_pg_archive::Facts;
use longshore_pg_client::client::Client;
use longshore_pg_client::server::{identifier, literal};

use crate::selection;

/// Returns the schemas of the archive that selected tables and schemas need, with their owners in
/// the target, if owners are restored. Returns none if everything is restored, if a list selects
/// the entries, or without a record of the archive.
pub(crate) fn selected(target: &DatabaseTarget, wanted: RestoreRequest<'_>) -> BTreeMap<String, Option<String>> {
    let Selection { tables, schemas, sections, list } = &target.selection;
    let by_name = list.is_none() && !(tables.is_empty() && schemas.is_empty());
    let defines = sections.is_empty() || sections.contains(&Section::PreData);
    let (true, Some(facts)) = (by_name && defines, wanted.details.and_then(selection::facts)) else {
        return BTreeMap::new();
    };
    let archived = archived(&facts);
    let holds_table = |schema: &str| {
        let holds = |line: &String, table: &String| {
            let of_it = format!(" {schema} {table} ");
            RELATIONS.iter().any(|kind| line.contains(&format!(" {kind}{of_it}")))
        };
        tables.iter().any(|table| facts.toc.iter().any(|line| holds(line, table)))
    };
    let is_chosen = |schema: &String| {
        (schemas.is_empty() || schemas.contains(schema)) && (tables.is_empty() || holds_table(schema))
    };
    let owner = |owner: String| {
        let owner = target.role_map.get(&owner).cloned().unwrap_or(owner);
        (target.owners == Owners::AsDumped && !owner.is_empty()).then_some(owner)
    };
    archived.into_iter().filter(|(name, _)| is_chosen(name)).map(|(name, of)| (name, owner(of))).collect()
}

/// The kinds that pg_restore selects by `--table`.
const RELATIONS: [&str; 5] = ["TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "SEQUENCE"];

/// Returns the schemas that an archive creates, with their owners: `id; catalog oid SCHEMA - schema
/// owner`. Both names may contain spaces; the schema names of recorded tables resolve the
/// ambiguity.
fn archived(facts: &Facts) -> BTreeMap<String, String> {
    let known: BTreeSet<&str> = facts.tables.iter().filter_map(|table| table.schema.as_deref()).collect();
    let lines = facts.toc.iter().filter_map(|line| Some(line.split_once(" SCHEMA - ")?.1));
    let lines = lines.filter_map(|rest| {
        let known = known.iter().filter_map(|name| Some((*name, rest.strip_prefix(name)?.strip_prefix(' ')?)));
        known.max_by_key(|(name, _)| name.len()).or_else(|| rest.rsplit_once(' '))
    });
    lines.map(|(name, owner)| (name.to_owned(), owner.to_owned())).collect()
}

/// Creates missing schemas, and returns notes about them.
pub(crate) async fn create(client: &Client, schemas: &BTreeMap<String, Option<String>>) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for (name, owner) in schemas {
        let is_missing = format!(
            "select to_json(not exists (select from pg_catalog.pg_namespace where nspname = {}))",
            literal(name)
        );
        if client.query(&is_missing).await? {
            let authorization = owner.as_deref().map(|owner| format!(" authorization {}", identifier(owner)));
            let statement = format!("create schema {}{}", identifier(name), authorization.unwrap_or_default());
            client.execute(&statement).await.map_err(|error| create_error(name, owner.as_deref(), error))?;
            notes.push(format!(
                "schema \"{}\" was created; its privileges and comment are not restored",
                printable(name)
            ));
        }
    }
    Ok(notes)
}

fn create_error(name: &str, owner: Option<&str>, error: Error) -> Error {
    let kind = error.kind();
    let create_error =
        Error::new(Stage::Restore, kind, name, "the schema of the selected objects cannot be created").because(error);
    match owner {
        Some(owner) => create_error.hint(format!(
            "it is owned by \"{}\": create that role, or add --role-map or --no-owner",
            printable(owner)
        )),
        None => create_error,
    }
}
