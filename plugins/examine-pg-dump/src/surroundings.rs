//! Properties of the restored database that may change its rows and are not part of the backup:
//! extensions, and triggers that fire automatically.

use std::collections::{BTreeMap, BTreeSet};

use longshore_core::Result;
use longshore_core::source::Source;
use longshore_pg_client::client::Client;
use serde::Deserialize;
use serde_json::{Map, Value};

const QUERY: &str = "select json_build_object(
    'extensions', (select coalesce(json_object_agg(extname, extversion), '{}') from pg_catalog.pg_extension),
    'members', (select coalesce(json_object_agg(n.nspname || '.' || c.relname, e.extname), '{}')
        from pg_catalog.pg_depend d
        join pg_catalog.pg_extension e on e.oid = d.refobjid
        join pg_catalog.pg_class c on c.oid = d.objid
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where d.classid = 'pg_catalog.pg_class'::regclass and d.refclassid = 'pg_catalog.pg_extension'::regclass
        and d.deptype = 'e' and c.relkind in ('r', 'p', 'S')),
    'event_triggers', (select coalesce(json_agg(evtname order by evtname), '[]') from pg_catalog.pg_event_trigger
        where evtenabled in ('A', 'R')
        or evtenabled = 'O' and current_setting('session_replication_role') <> 'replica'),
    'refreshing', (select coalesce(json_agg(distinct p.oid::regprocedure::text), '[]')
        from pg_catalog.pg_rewrite r
        join pg_catalog.pg_class c on c.oid = r.ev_class and c.oid >= 16384 and c.relkind in ('m', 'v')
        cross join lateral regexp_matches(r.ev_action::text, ':funcid (\\d+)', 'g') called(id)
        join pg_catalog.pg_proc p on p.oid = called.id[1]::oid and p.provolatile = 'v'
            and (p.oid >= 16384 or p.proname in ('nextval', 'setval'))
        where exists (select from pg_catalog.pg_class where relkind = 'm' and relispopulated)),
    'silenced', coalesce(current_setting('event_triggers', true), 'on') = 'off')";

/// The surroundings of a restored database, and those of the dumped database.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Surroundings {
    /// The versions of extensions on this server.
    extensions: BTreeMap<String, String>,
    /// The extension of each table and sequence that an extension created, by `schema.name`.
    members: BTreeMap<String, String>,
    /// Event triggers that fire on this server.
    event_triggers: BTreeSet<String>,
    /// Volatile functions called by views, if materialized views were refreshed.
    refreshing: BTreeSet<String>,
    /// True if a setting disables event triggers.
    silenced: bool,
    /// The record of the dumped database.
    #[serde(skip)]
    source: Option<Source>,
    /// The major versions of the two servers, if they differ.
    #[serde(skip)]
    releases: Option<(String, String)>,
}

impl Surroundings {
    /// Queries the restored database. `details` contain the record of the dumped one.
    pub(crate) async fn look(
        client: &Client,
        details: &Map<String, Value>,
        releases: Option<(String, String)>,
    ) -> Result<Self> {
        let here: Self = client.ask(QUERY).await?;
        Ok(Self { source: Source::of(details), releases, ..here })
    }

    /// Returns the reason why rows may differ although the backup is good: event triggers wrote
    /// them during the restore.
    pub(crate) fn writers(&self) -> Option<String> {
        let triggers: Vec<&str> = self.event_triggers.iter().map(String::as_str).collect();
        let some = !self.silenced && !triggers.is_empty();
        some.then(|| format!("event triggers may have written to it while it was restored: {}", triggers.join(", ")))
    }

    /// Returns the reason why a sequence may have advanced, or a table may have more rows, although
    /// the backup is good: functions called by materialized views took a value or wrote a row
    /// during a refresh.
    pub(crate) fn additions(&self) -> Option<String> {
        let functions: Vec<&str> = self.refreshing.iter().map(String::as_str).collect();
        let why = "functions that views call may have written to it when materialized views were refreshed";
        (!functions.is_empty()).then(|| format!("{why}: {}", functions.join(", ")))
    }

    /// Returns the reason why the content of a table or sequence may differ although the backup is
    /// good: it belongs to an extension of another version. `made` is true if the dump creates it.
    pub(crate) fn of_other_version(&self, name: &str, made: bool) -> Option<String> {
        let extension = match (self.members.get(name), made) {
            (Some(extension), _) => extension,
            // An extension created it on the dumped server, but not on this one.
            (None, false) => {
                return Some("it belongs to an extension, which has no such table on this server".to_owned());
            }
            (None, true) => return None,
        };
        let here = self.extensions.get(extension).map_or("", String::as_str);
        match self.source.as_ref().and_then(|source| source.extensions.get(extension)) {
            Some(recorded) if recorded == here => None,
            Some(recorded) => Some(format!(
                "it belongs to extension {extension}, which is {recorded} on the dumped server, and {here} here"
            )),
            None => {
                Some(format!("it belongs to extension {extension}, whose version was not recorded and is {here} here"))
            }
        }
    }

    /// Returns the reason why the text form of a value may differ: another release, or another
    /// version of an extension, which may define its type.
    pub(crate) fn other_forms(&self) -> Option<String> {
        if let Some((there, here)) = &self.releases {
            return Some(format!("it was dumped from PostgreSQL {there} and restored to {here}"));
        }
        let all = self.versions();
        (!all.is_empty()).then(|| format!("the text form of values may differ: {}", all.join("; ")))
    }

    /// Describes the extensions whose versions differ.
    pub(crate) fn versions(&self) -> Vec<String> {
        let other = self.source.iter().flat_map(|source| source.other_versions(&self.extensions));
        other
            .map(|(name, there, here)| format!("extension {name} is {there} on the dumped server, and {here} here"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn here(version: &str, recorded: Option<&str>) -> Surroundings {
        let here = json!({ "extensions": { "cron": version }, "members": { "cron.job": "cron" }, "event_triggers": [], "refreshing": [], "silenced": false });
        let of = |version: &str| [("cron".to_owned(), version.to_owned())].into();
        let source = recorded.map(|version| Source { extensions: of(version), ..Source::default() });
        Surroundings { source, ..serde_json::from_value(here).unwrap() }
    }

    #[test]
    fn only_tables_of_the_same_version_are_compared() {
        assert_eq!(here("1.4", Some("1.4")).of_other_version("cron.job", false), None);
        assert_eq!(here("1.6", Some("1.4")).of_other_version("public.orders", true), None);
        for (surroundings, words) in [
            (here("1.6", Some("1.4")), "is 1.4 on the dumped server, and 1.6 here"),
            (here("1.6", None), "was not recorded"),
        ] {
            assert!(surroundings.of_other_version("cron.job", false).unwrap().contains(words));
        }
        let gone = here("1.6", Some("1.4")).of_other_version("cron.gone", false);
        assert!(gone.unwrap().contains("no such table on this server"));
        assert_eq!(here("1.6", Some("1.4")).versions().len(), 1);
        assert!(here("1.4", Some("1.4")).other_forms().is_none() && here("1.6", Some("1.4")).other_forms().is_some());
    }

    #[test]
    fn functions_of_refreshed_views_may_have_added() {
        let mut surroundings = here("1.4", Some("1.4"));
        assert_eq!(surroundings.additions(), None);
        surroundings.refreshing.insert("next_number()".to_owned());
        assert!(surroundings.additions().unwrap().contains("next_number()"));
        assert_eq!(surroundings.writers(), None);
    }

    #[test]
    fn only_triggers_that_fire_may_have_written() {
        let mut surroundings = here("1.4", Some("1.4"));
        assert_eq!(surroundings.writers(), None);
        surroundings.event_triggers.insert("note".to_owned());
        assert!(surroundings.writers().unwrap().contains("note"));
        surroundings.silenced = true;
        assert_eq!(surroundings.writers(), None);
    }
}
