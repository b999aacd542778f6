//! Properties of the restored database that may change its rows and are not part of the backup:
//! extensions, and triggers that fire automatically.

use std::collections::{BTreeMap, BTreeSet};

use longshore_core::Result;
use longshore_core::source::SourceFacts;
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

/// The environment of a restored database, and that of the dumped database.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Environment {
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
    source: Option<SourceFacts>,
    /// The major versions of the two servers, if they differ.
    #[serde(skip)]
    major_versions: Option<(String, String)>,
}

impl Environment {
    /// Queries the restored database. `details` contain the record of the dumped one.
    pub(crate) async fn query(
        client: &Client,
        details: &Map<String, Value>,
        major_versions: Option<(String, String)>,
    ) -> Result<Self> {
        let here: Self = client.query(QUERY).await?;
        Ok(Self { source: SourceFacts::of(details), major_versions, ..here })
    }

    /// Returns the reason why rows may differ although the backup is good: event triggers wrote
    /// them during the restore.
    pub(crate) fn trigger_writes(&self) -> Option<String> {
        let triggers: Vec<&str> = self.event_triggers.iter().map(String::as_str).collect();
        let some = !self.silenced && !triggers.is_empty();
        some.then(|| format!("event triggers may have written to it while it was restored: {}", triggers.join(", ")))
    }

    /// Returns the reason why a sequence may have advanced, or a table may have more rows, although
    /// the backup is good: functions called by materialized views took a value or wrote a row
    /// during a refresh.
    pub(crate) fn refresh_writes(&self) -> Option<String> {
        let functions: Vec<&str> = self.refreshing.iter().map(String::as_str).collect();
        let reason = "functions that views call may have written to it when materialized views were refreshed";
        (!functions.is_empty()).then(|| format!("{reason}: {}", functions.join(", ")))
    }

    /// Returns the reason why the content of a table or sequence may differ although the backup is
    /// good: it belongs to an extension of another version. `is_created` is true if the dump
    /// creates it.
    pub(crate) fn version_difference(&self, name: &str, is_created: bool) -> Option<String> {
        let extension = match (self.members.get(name), is_created) {
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
    pub(crate) fn text_form_difference(&self) -> Option<String> {
        if let Some((source, here)) = &self.major_versions {
            return Some(format!("it was dumped from PostgreSQL {source} and restored to {here}"));
        }
        let all = self.versions();
        (!all.is_empty()).then(|| format!("the text form of values may differ: {}", all.join("; ")))
    }

    /// Describes the extensions whose versions differ.
    pub(crate) fn versions(&self) -> Vec<String> {
        let other = self.source.iter().flat_map(|source| source.other_versions(&self.extensions));
        other
            .map(|(name, source, here)| format!("extension {name} is {source} on the dumped server, and {here} here"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn here(version: &str, recorded: Option<&str>) -> Environment {
        let here = json!({ "extensions": { "cron": version }, "members": { "cron.job": "cron" }, "event_triggers": [], "refreshing": [], "silenced": false });
        let of = |version: &str| [("cron".to_owned(), version.to_owned())].into();
        let source = recorded.map(|version| SourceFacts { extensions: of(version), ..SourceFacts::default() });
        Environment { source, ..serde_json::from_value(here).unwrap() }
    }

    #[test]
    fn version_difference_excuses_extension_tables() {
        assert_eq!(here("1.4", Some("1.4")).version_difference("cron.job", false), None);
        assert_eq!(here("1.6", Some("1.4")).version_difference("public.orders", true), None);
        for (environment, words) in [
            (here("1.6", Some("1.4")), "is 1.4 on the dumped server, and 1.6 here"),
            (here("1.6", None), "was not recorded"),
        ] {
            assert!(environment.version_difference("cron.job", false).unwrap().contains(words));
        }
        let gone = here("1.6", Some("1.4")).version_difference("cron.gone", false);
        assert!(gone.unwrap().contains("no such table on this server"));
        assert_eq!(here("1.6", Some("1.4")).versions().len(), 1);
        assert!(
            here("1.4", Some("1.4")).text_form_difference().is_none()
                && here("1.6", Some("1.4")).text_form_difference().is_some()
        );
    }

    #[test]
    fn refresh_writes_names_functions_of_views() {
        let mut environment = here("1.4", Some("1.4"));
        assert_eq!(environment.refresh_writes(), None);
        environment.refreshing.insert("next_number()".to_owned());
        assert!(environment.refresh_writes().unwrap().contains("next_number()"));
        assert_eq!(environment.trigger_writes(), None);
    }

    #[test]
    fn trigger_writes_ignores_disabled_triggers() {
        let mut environment = here("1.4", Some("1.4"));
        assert_eq!(environment.trigger_writes(), None);
        environment.event_triggers.insert("note".to_owned());
        assert!(environment.trigger_writes().unwrap().contains("note"));
        environment.silenced = true;
        assert_eq!(environment.trigger_writes(), None);
    }
}
