//! The rights of the restoring role, compared with those that the backup needs.

use std::collections::BTreeSet;

use longshore_core::check::Finding;
use longshore_core::error::printable;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::client::Client;
use longshore_pg_client::tool::Version;
use serde::Deserialize;

use crate::target_database::DatabaseState;

/// The rights of the role in the target.
#[derive(Debug, Deserialize)]
pub(crate) struct Rights {
    role: String,
    pub(crate) superuser: bool,
    creates_databases: bool,
    creates_subscriptions: bool,
    /// The roles that the role may act for.
    acts_for: BTreeSet<String>,
    /// The tablespaces in which the role may create objects.
    tablespaces: BTreeSet<String>,
    /// The extensions that only a superuser may create.
    superuser_extensions: BTreeSet<String>,
}

/// The parts of a backup that need rights.
#[derive(Debug, Default)]
pub(crate) struct Needs<'a> {
    /// The future owners of objects, by their names in the target.
    pub(crate) owners: BTreeSet<&'a str>,
    pub(crate) tablespaces: BTreeSet<&'a str>,
    pub(crate) extensions: BTreeSet<&'a str>,
    /// The kinds of the entries.
    pub(crate) kinds: BTreeSet<&'a str>,
}

/// Kinds that only a superuser may create, and whose failure aborts a restore.
const SUPERUSER: [&str; 6] = [
    "ACCESS METHOD",
    "FOREIGN DATA WRAPPER",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "TEXT SEARCH PARSER",
    "TEXT SEARCH TEMPLATE",
];

impl Rights {
    /// Queries the target.
    pub(crate) async fn query(client: &Client, version: &Version) -> Result<Self> {
        // Since PostgreSQL 16, a member of a role may lack the right to act for the role.
        let membership = if version.major >= 16 { "SET" } else { "MEMBER" };
        let subscriptions = if version.major >= 16 {
            "pg_catalog.pg_has_role('pg_create_subscription', 'USAGE')"
        } else {
            "current_setting('is_superuser') = 'on'"
        };
        let rights = format!(
            "select json_build_object(
            'role', current_user,
            'superuser', current_setting('is_superuser') = 'on',
            'creates_databases', (select rolcreatedb or rolsuper from pg_catalog.pg_roles where rolname = current_user),
            'creates_subscriptions', {subscriptions},
            'acts_for', (select coalesce(json_agg(rolname), '[]') from pg_catalog.pg_roles
                where pg_catalog.pg_has_role(oid, '{membership}')),
            'tablespaces', (select coalesce(json_agg(spcname), '[]') from pg_catalog.pg_tablespace
                where pg_catalog.has_tablespace_privilege(oid, 'CREATE')),
            'superuser_extensions', (select coalesce(json_agg(e.name), '[]') from pg_catalog.pg_available_extensions e
                join pg_catalog.pg_available_extension_versions v on v.name = e.name and v.version = e.default_version
                where v.superuser and coalesce(to_jsonb(v) ->> 'trusted', 'false') = 'false'))"
        );
        client.query(&rights).await
    }

    /// Returns findings for missing rights. `is_whole` is true if the whole backup is restored.
    pub(crate) fn findings(
        &self,
        subject: &str,
        needs: &Needs<'_>,
        state: Option<DatabaseState>,
        is_whole: bool,
    ) -> Vec<Finding> {
        if self.superuser {
            return Vec::new();
        }
        let role = printable(&self.role);
        let mut findings = Vec::new();
        let failure = |message: String, hint: &str| {
            Finding::failed(subject, &Error::new(Stage::Restore, Kind::Refused, subject, message).hint(hint))
        };
        if matches!(state, Some(DatabaseState::ToCreate | DatabaseState::ToReplace)) && !self.creates_databases {
            findings.push(failure(
                format!("role \"{role}\" may not create databases"),
                "let it create them (alter role … createdb), or restore into an existing empty database",
            ));
        }
        let mut add_finding = |message: String, hint: &str| {
            findings.push(match is_whole {
                true => failure(message, hint),
                // The selected part may not need the right.
                false => Finding::warning(subject, message, hint),
            });
        };
        let owners: Vec<_> = needs.owners.iter().filter(|owner| !self.acts_for.contains(**owner)).collect();
        if !owners.is_empty() {
            add_finding(
                format!("role \"{role}\" may not act for the owners {}", quoted(&owners)),
                "restore as a superuser or a member of the owners, or skip them: --no-owner --no-privileges",
            );
        }
        let tablespaces: Vec<_> = needs.tablespaces.iter().filter(|name| !self.tablespaces.contains(**name)).collect();
        if !tablespaces.is_empty() {
            add_finding(
                format!("role \"{role}\" may not create objects in the tablespaces {}", quoted(&tablespaces)),
                "grant it CREATE on them",
            );
        }
        let extensions: Vec<_> =
            needs.extensions.iter().filter(|name| self.superuser_extensions.contains(**name)).collect();
        if !extensions.is_empty() {
            add_finding(
                format!("only a superuser may create the extensions {}", quoted(&extensions)),
                "restore as a superuser, or exclude them: --list-file",
            );
        }
        let kinds: Vec<_> = SUPERUSER.iter().filter(|kind| needs.kinds.contains(**kind)).collect();
        if !kinds.is_empty() {
            add_finding(
                format!("only a superuser may create its objects of kind {}", quoted(&kinds)),
                "restore as a superuser, or exclude them: --list-file",
            );
        }
        findings.extend(self.left_out(subject, needs));
        findings
    }

    /// Returns findings for entries that will be skipped without affecting the data.
    fn left_out(&self, subject: &str, needs: &Needs<'_>) -> Vec<Finding> {
        let superuser_hint = "restore as a superuser to include them; otherwise they are skipped, and reported with the commands that create them";
        let mut findings = Vec::new();
        if needs.kinds.contains("EVENT TRIGGER") {
            let message = "contains event triggers, which only a superuser may create";
            findings.push(Finding::warning(subject, message, superuser_hint));
        }
        if needs.kinds.contains("PUBLICATION") {
            let message = "only a superuser may create publications of all tables or of other roles' tables";
            findings.push(Finding::warning(subject, message, superuser_hint));
        }
        if needs.kinds.contains("SUBSCRIPTION") && !self.creates_subscriptions {
            let message = "contains subscriptions, which the role may not create";
            findings.push(Finding::warning(subject, message, superuser_hint));
        }
        findings
    }
}

fn quoted(names: &[&&str]) -> String {
    names.iter().map(|name| format!("\"{}\"", printable(name))).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use longshore_core::check::Outcome;

    use super::*;

    fn rights() -> Rights {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Rights {
            role: "adm".to_owned(),
            superuser: false,
            creates_databases: false,
            creates_subscriptions: true,
            acts_for: names(&["adm", "app"]),
            tablespaces: names(&["fast"]),
            superuser_extensions: names(&["postgres_fdw"]),
        }
    }

    fn outcomes(needs: &Needs<'_>, state: DatabaseState, is_whole: bool) -> Vec<Outcome> {
        let findings = rights().findings("appdb", needs, Some(state), is_whole);
        findings.into_iter().map(|finding| finding.outcome).collect()
    }

    #[test]
    fn missing_rights_for_the_data_fail() {
        let none = Needs::default();
        assert_eq!(outcomes(&none, DatabaseState::Ready, true), []);
        assert_eq!(outcomes(&none, DatabaseState::ToCreate, true), [Outcome::Failed]);
        let owners = Needs { owners: ["app", "postgres"].into(), ..Needs::default() };
        assert_eq!(outcomes(&owners, DatabaseState::Ready, true), [Outcome::Failed]);
        assert_eq!(outcomes(&owners, DatabaseState::Ready, false), [Outcome::Warning]);
        let tablespaces = Needs { tablespaces: ["fast", "slow"].into(), ..Needs::default() };
        assert_eq!(outcomes(&tablespaces, DatabaseState::Ready, true), [Outcome::Failed]);
        let extensions = Needs { extensions: ["hstore"].into(), ..Needs::default() };
        assert_eq!(outcomes(&extensions, DatabaseState::Ready, true), []);
        let extensions = Needs { extensions: ["postgres_fdw"].into(), ..Needs::default() };
        assert_eq!(outcomes(&extensions, DatabaseState::Ready, true), [Outcome::Failed]);
    }

    #[test]
    fn missing_rights_for_other_entries_are_warnings() {
        let needs = Needs { kinds: ["EVENT TRIGGER", "PUBLICATION", "SUBSCRIPTION"].into(), ..Needs::default() };
        assert_eq!(outcomes(&needs, DatabaseState::Ready, true), [Outcome::Warning, Outcome::Warning]);
    }
}
