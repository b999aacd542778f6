//! The cause of a failure in a program that prints only text, such as pg_dump. The server is
//! queried afterwards. The text is searched only for names of tables and numbers of large objects,
//! which are the same in every language.

use std::collections::BTreeSet;

use longshore_core::{Kind, Stage};
use serde::Deserialize;

use crate::client::Client;

/// Facts about the database of the failed program, from the server.
#[derive(Debug, Default, Deserialize)]
struct Facts {
    /// Tables whose rows a policy may hide from the role.
    hidden: Vec<String>,
    /// Tables and sequences that the role may not read.
    unreadable: Vec<String>,
    /// Large objects that the role may not read.
    large_objects: Vec<String>,
    /// Tables that another session has locked, even for reading.
    locked: Vec<String>,
    /// The number of tables, and the number of locks that the server has room for.
    tables: u64,
    locks: u64,
    /// True if the server is a standby whose replay has cancelled queries.
    cancelled_by_replay: bool,
    /// True if the role is a superuser.
    superuser: bool,
}

/// The query. `{numbers}` is replaced with the numbers in the program's text.
const QUERY: &str = "with tables as (
    select c.oid, relname, relkind, relnamespace from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = relnamespace
    where relkind in ('r', 'p', 'S') and nspname !~ '^pg_' and nspname <> 'information_schema'
)
select json_build_object(
    'hidden', (select coalesce(json_agg(relname), '[]') from tables where relkind <> 'S' and pg_catalog.row_security_active(oid)),
    'unreadable', (select coalesce(json_agg(relname), '[]') from tables where not case relkind
        when 'S' then has_sequence_privilege(oid, 'select') else has_table_privilege(oid, 'select') end
        or not has_schema_privilege(relnamespace, 'usage')),
    'large_objects', (select coalesce(json_agg(m.oid::text), '[]') from pg_catalog.pg_largeobject_metadata m
        where m.oid::text = any('{numbers}') and not pg_has_role(lomowner, 'usage')
        and not exists (select from aclexplode(lomacl) where privilege_type = 'SELECT'
            and case grantee when 0 then true else pg_has_role(grantee, 'usage') end)),
    'locked', (select coalesce(json_agg(relname), '[]') from pg_catalog.pg_locks l join tables t on t.oid = l.relation
        where database = (select oid from pg_catalog.pg_database where datname = current_database())
        and mode = 'AccessExclusiveLock' and granted and pid <> pg_backend_pid()),
    'tables', (select count(*) from tables),
    'locks', current_setting('max_locks_per_transaction')::int8
        * (current_setting('max_connections')::int8 + current_setting('max_prepared_transactions')::int8),
    'cancelled_by_replay', pg_catalog.pg_is_in_recovery() and exists (select from pg_catalog.pg_stat_database_conflicts
        where datname = current_database()
        and confl_snapshot + confl_lock + confl_bufferpin + confl_deadlock + confl_tablespace > 0),
    'superuser', current_setting('is_superuser') = 'on')";

/// The hint for a role that cannot give away the objects that it creates.
const NO_OWNER: &str = "restore as a role that may act for the owners, or leave them out: --no-owner --no-privileges";

/// Finds the cause, as far as the server shows it. `output` is the program's text.
pub(crate) async fn find(client: &Client, stage: Stage, output: &str) -> Option<(Kind, String)> {
    let is_number = |word: &&str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let numbers: Vec<&str> = words(output).into_iter().filter(is_number).collect();
    let query = QUERY.replace("{numbers}", &format!("{{{}}}", numbers.join(",")));
    // Boxed because the error of a failing query is diagnosed in turn. The recursion ends there,
    // since the connection is known to work.
    let facts: Facts = Box::pin(client.try_query(&query)).await?;
    from_facts(&facts, stage, output)
}

fn is_word_char(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

/// Returns the words of a text.
fn words(text: &str) -> BTreeSet<&str> {
    text.split(|char: char| !is_word_char(char)).collect()
}

/// Returns the first cause that the program's text names.
fn from_facts(facts: &Facts, stage: Stage, output: &str) -> Option<(Kind, String)> {
    let words = words(output);
    let is_word = |name: &str| name.chars().all(is_word_char);
    let is_named =
        |name: &&String| if is_word(name) { words.contains(name.as_str()) } else { output.contains(name.as_str()) };
    let named = |names: &[String]| names.iter().find(is_named).cloned();
    if stage == Stage::Restore {
        return (!facts.superuser).then(|| (Kind::Failed, NO_OWNER.to_owned()));
    }
    if let Some(table) = named(&facts.hidden) {
        let hint = format!("dump as a role with BYPASSRLS: policies hide rows of table {table} from this role");
        return Some((Kind::Denied, hint));
    }
    if let Some(table) = named(&facts.locked) {
        let hint = format!(
            "run at another time, or raise lock_wait_timeout: another session holds a lock on table {table} for longer"
        );
        return Some((Kind::Unavailable, hint));
    }
    if let Some(table) = named(&facts.unreadable) {
        let hint =
            format!("allow the role to read {table}: grant pg_read_all_data, or select on it and usage on its schema");
        return Some((Kind::Denied, hint));
    }
    if let Some(number) = facts.large_objects.first() {
        let hint = format!(
            "allow the role to read large object {number} and similar ones (grant select on large object …), or dump as their owner or a \
             superuser"
        );
        return Some((Kind::Denied, hint));
    }
    if facts.tables > facts.locks {
        return Some((
            Kind::Failed,
            "raise max_locks_per_transaction on the server: a dump locks every table".to_owned(),
        ));
    }
    if facts.cancelled_by_replay {
        let hint = "if replay cancelled it: set hot_standby_feedback = on on the standby, or raise max_standby_streaming_delay";
        return Some((Kind::Unavailable, hint.to_owned()));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cause_is_named_in_the_output() {
        let facts = Facts {
            unreadable: vec!["secret".to_owned()],
            large_objects: vec!["77".to_owned()],
            locks: 10,
            ..Facts::default()
        };
        let hint = |output| from_facts(&facts, Stage::Dump, output).unwrap().1;
        assert!(hint("FEHLER: keine Berechtigung für Tabelle secret").contains("allow the role to read secret"));
        assert!(hint("FEHLER: keine Berechtigung für Large Object 77").contains("large object 77"));
        let no_facts = Facts { locks: 10, ..Facts::default() };
        assert_eq!(from_facts(&no_facts, Stage::Dump, "secret 77"), None);
    }
}
