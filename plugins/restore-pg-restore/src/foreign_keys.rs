//! Checks the foreign keys of tables that were filled while their triggers were disabled.

use std::fmt::Write;

use longshore_core::Result;
use longshore_core::left_out::{LeftOut, Nature};
use longshore_pg_archive::outline::Item;
use longshore_pg_client::client::Client;
use longshore_pg_client::server::literal;
use serde::Deserialize;

/// A foreign key.
#[derive(Debug, Deserialize)]
struct ForeignKey {
    /// Its schema, table and name, as in pg_restore's list.
    entry: String,
    /// A query for the rows that violate it.
    rows: String,
}

/// Returns the violated foreign keys of the filled tables.
pub(crate) async fn violated(client: &Client, filled: &[&Item]) -> Result<Vec<LeftOut>> {
    let tables = filled.iter().filter(|item| item.kind == "TABLE DATA");
    let mut names = String::new();
    for item in tables {
        let gap = if names.is_empty() { "" } else { ", " };
        let schema = literal(item.schema.as_deref().unwrap_or_default());
        // Writing to a string cannot fail.
        write!(names, "{gap}({schema}, {})", literal(&item.name)).ok();
    }
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let mut violated = Vec::new();
    for foreign_key in client.query::<Vec<ForeignKey>>(&foreign_keys(&names)).await? {
        let exists = format!("select to_json(exists ({}))", foreign_key.rows);
        if client.query(&exists).await? {
            violated.push(LeftOut {
                line: format!("0; 0 0 FK CONSTRAINT {}", foreign_key.entry),
                nature: Nature::Structural,
                why: "restored rows refer to missing rows".to_owned(),
                sqlstate: Some("23503".to_owned()),
                command: format!("show them: {};", foreign_key.rows),
            });
        }
    }
    Ok(violated)
}

/// Returns the query for the foreign keys of tables, each a schema and a name.
fn foreign_keys(tables: &str) -> String {
    format!(
        "select coalesce(json_agg(json_build_object(
            'entry', concat_ws(' ', n.nspname, r.relname, c.conname),
            'rows', format('select %s from %s own left join %s other on %s where %s and %s', columns, c.conrelid::regclass,
                c.confrelid::regclass, pairs, present, absent))), '[]')
        from pg_catalog.pg_constraint c
        join pg_catalog.pg_class r on r.oid = c.conrelid
        join pg_catalog.pg_namespace n on n.oid = r.relnamespace
        cross join lateral (
            select string_agg(format('own.%I', own.attname), ', ') columns,
                string_agg(format('own.%I = other.%I', own.attname, other.attname), ' and ') pairs,
                string_agg(format('own.%I is not null', own.attname), ' and ') present,
                min(format('other.%I is null', other.attname)) absent
            from unnest(c.conkey, c.confkey) with ordinality k(own_number, other_number, place)
            join pg_catalog.pg_attribute own on own.attrelid = c.conrelid and own.attnum = k.own_number
            join pg_catalog.pg_attribute other on other.attrelid = c.confrelid and other.attnum = k.other_number) k
        where c.contype = 'f' and c.convalidated and c.conparentid = 0 and (n.nspname, r.relname) in ({tables})"
    )
}
