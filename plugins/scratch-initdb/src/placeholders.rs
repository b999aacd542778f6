//! Placeholders for the roles and tablespaces of a run without globals.

use std::collections::BTreeSet;

use longshore_core::Result;
use longshore_core::error::printable;
use longshore_core::stage::RestoreRequest;
use longshore_core::subject::Subject;
use longshore_pg_archive::Facts;
use longshore_pg_archive::listing::split_owner;
use longshore_pg_client::client::Client;
use longshore_pg_client::isolation_policy::facts;
use longshore_pg_client::server::identifier;

/// The prefix of names that PostgreSQL reserves for its own roles.
const RESERVED: &str = "pg_";

/// Kinds of entries that only a superuser may own.
const OF_SUPERUSERS: [&str; 2] = [" EVENT TRIGGER - ", " FOREIGN DATA WRAPPER - "];

/// The roles and tablespaces that the databases of a run need but the run does not contain.
#[derive(Debug, Default, PartialEq, Eq)]
struct Missing {
    roles: BTreeSet<String>,
    superusers: BTreeSet<String>,
    tablespaces: BTreeSet<String>,
}

/// Creates placeholders in a scratch cluster, and returns a note for each kind.
pub(crate) async fn create(client: &Client, wanted: &[RestoreRequest<'_>]) -> Result<Vec<String>> {
    let subjects: Vec<&Subject> = wanted.iter().map(|wanted| &wanted.manifest.subject).collect();
    let facts: Vec<Facts> = wanted.iter().filter_map(facts).collect();
    let mut missing = Missing::of(&subjects, &facts);
    let roles: BTreeSet<String> =
        client.query("select coalesce(json_agg(rolname), '[]') from pg_catalog.pg_roles").await?;
    let tablespaces: BTreeSet<String> =
        client.query("select coalesce(json_agg(spcname), '[]') from pg_catalog.pg_tablespace").await?;
    missing.roles.retain(|name| !roles.contains(name) && !name.starts_with(RESERVED));
    missing.tablespaces.retain(|name| !tablespaces.contains(name) && !name.starts_with(RESERVED));
    let mut notes = Vec::new();
    for name in &missing.roles {
        let rights = if missing.superusers.contains(name) { " superuser" } else { "" };
        client.execute(&format!("create role {} nologin{rights}", identifier(name))).await?;
    }
    for name in &missing.tablespaces {
        client.execute(&format!("create tablespace {} location ''", identifier(name))).await?;
    }
    for (kind, names) in [("role", &missing.roles), ("tablespace", &missing.tablespaces)] {
        let quoted: Vec<_> = names.iter().map(|name| format!("\"{}\"", printable(name))).collect();
        if !quoted.is_empty() {
            notes.push(format!("{kind} {} created as a placeholder: the run has no globals", quoted.join(", ")));
        }
    }
    Ok(notes)
}

impl Missing {
    /// Finds all roles and tablespaces named in the record of a run, unless the run contains them.
    fn of(subjects: &[&Subject], facts: &[Facts]) -> Self {
        let includes = |kinds: &[Subject]| subjects.iter().any(|subject| kinds.contains(subject));
        let whole = [Subject::All, Subject::Schema, Subject::Globals];
        let mut missing = Self::default();
        if !includes(&whole) && !includes(&[Subject::Roles]) {
            for facts in facts {
                let owners = facts.toc.iter().filter_map(|line| owner(line, facts));
                match facts.roles.is_empty() {
                    true => missing.roles.extend(owners),
                    false => missing.roles.extend(facts.roles.iter().cloned()),
                }
                let of_superusers = |line: &&String| OF_SUPERUSERS.iter().any(|kind| line.contains(kind));
                let lines = facts.toc.iter().filter(of_superusers);
                missing.superusers.extend(lines.filter_map(|line| owner(line, facts)));
            }
        }
        if !includes(&whole) && !includes(&[Subject::Tablespaces]) {
            missing.tablespaces.extend(facts.iter().flat_map(|facts| facts.tablespaces.iter().cloned()));
        }
        missing
    }
}

/// Returns the owner of an entry of a list, if it has one.
fn owner(line: &str, facts: &Facts) -> Option<String> {
    Some(split_owner(line, &facts.roles).1.to_owned()).filter(|owner| !owner.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(roles: &[&str], toc: &[&str]) -> Facts {
        let script = b"--\n-- PostgreSQL database dump\n--\n\n--\n-- PostgreSQL database dump complete\n--\n\n";
        let mut facts = longshore_pg_archive::read(&script[..], &mut |_| ()).unwrap();
        facts.roles = roles.iter().map(|name| (*name).to_owned()).collect();
        facts.toc = toc.iter().map(|name| (*name).to_owned()).collect();
        facts.tablespaces = ["fast".to_owned()].into();
        facts
    }

    #[test]
    fn run_without_globals_needs_placeholders() {
        let toc = ["5; 1259 16390 TABLE public t app", "6; 3466 16391 EVENT TRIGGER - audit old chief"];
        let database = Subject::database("shop");
        let missing = Missing::of(&[&database], &[facts(&["app", "old chief", "reader"], &toc)]);
        assert_eq!(missing.roles, ["app", "old chief", "reader"].map(str::to_owned).into());
        assert_eq!(missing.superusers, ["old chief".to_owned()].into());
        assert_eq!(missing.tablespaces, ["fast".to_owned()].into());
        // A record of an older version has no roles, but its list has owners.
        assert_eq!(Missing::of(&[&database], &[facts(&[], &toc[..1])]).roles, ["app".to_owned()].into());
    }

    #[test]
    fn run_with_globals_needs_no_placeholders() {
        let database = Subject::database("shop");
        let facts = [facts(&["app"], &[])];
        assert_eq!(Missing::of(&[&Subject::Globals, &database], &facts), Missing::default());
        let of_roles = Missing::of(&[&Subject::Roles, &database], &facts);
        assert!(of_roles.roles.is_empty() && !of_roles.tablespaces.is_empty(), "{of_roles:?}");
    }
}
