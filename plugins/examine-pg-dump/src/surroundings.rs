//! What of the restored database may change its rows, and is no part of the backup: extensions, and triggers that fire by themselves.

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

/// The surroundings of a restored database, beside those of the database that was dumped.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Surroundings {
    /// The versions of extensions here.
    extensions: BTreeMap<String, String>,
    /// The extension of each table and sequence that an extension made, by `schema.name`.
    members: BTreeMap<String, String>,
    /// Event triggers that fire here.
    event_triggers: BTreeSet<String>,
    /// Volatile functions that views call, where materialized views were filled by their queries.
    refreshing: BTreeSet<String>,
    /// Whether a setting keeps all of them from firing.
    silenced: bool,
    /// What was recorded of the database that was dumped.
    #[serde(skip)]
    source: Option<Source>,
    /// The major versions there and here, where they differ.
    #[serde(skip)]
    releases: Option<(String, String)>,
}

impl Surroundings {
    /// Looks at the restored database. `details` hold what was recorded of the other.
    pub(crate) async fn look(
        client: &Client,
        details: &Map<String, Value>,
        releases: Option<(String, String)>,
    ) -> Result<Self> {
        let here: Self = client.ask(QUERY).await?;
        Ok(Self { source: Source::of(details), releases, ..here })
    }

    /// Why rows may be other ones than were dumped although the backup is good: triggers of the database wrote them while it was restored.
    pub(crate) fn writers(&self) -> Option<String> {
        let triggers: Vec<&str> = self.event_triggers.iter().map(String::as_str).collect();
        let some = !self.silenced && !triggers.is_empty();
        some.then(|| format!("event triggers may have written to it while it was restored: {}", triggers.join(", ")))
    }

    /// Why a sequence may be further, and a table may have more rows, although the backup is good: functions that materialized views call
    /// took a value or wrote a row when the views were refreshed.
    pub(crate) fn additions(&self) -> Option<String> {
        let functions: Vec<&str> = self.refreshing.iter().map(String::as_str).collect();
        let why = "functions that views call may have written to it when materialized views were refreshed";
        (!functions.is_empty()).then(|| format!("{why}: {}", functions.join(", ")))
    }

    /// Why a table or sequence may hold something else than was dumped although the backup is good: it belongs to an extension of another
    /// version. `made` says whether the dump makes it.
    pub(crate) fn of_other_version(&self, name: &str, made: bool) -> Option<String> {
        let extension = match (self.members.get(name), made) {
            (Some(extension), _) => extension,
            // Its extension made it there, and does not here.
            (None, false) => return Some("it belongs to an extension, which has no such table here".to_owned()),
            (None, true) => return None,
        };
        let here = self.extensions.get(extension).map_or("", String::as_str);
        match self.source.as_ref().and_then(|source| source.extensions.get(extension)) {
            Some(recorded) if recorded == here => None,
            Some(recorded) => Some(format!(
                "it belongs to extension {extension}, which is {recorded} where the backup comes from, and {here} here"
            )),
            None => {
                Some(format!("it belongs to extension {extension}, whose version was not recorded, and is {here} here"))
            }
        }
    }

    /// Why the same value may be written otherwise here: another release, or other versions of extensions, whose types it may have.
    pub(crate) fn other_forms(&self) -> Option<String> {
        if let Some((there, here)) = &self.releases {
            return Some(format!("it was written by PostgreSQL {there}, and is read by {here}"));
        }
        let all = self.versions();
        (!all.is_empty()).then(|| format!("values may be written otherwise: {}", all.join("; ")))
    }

    /// The extensions whose versions differ, in words.
    pub(crate) fn versions(&self) -> Vec<String> {
        let other = self.source.iter().flat_map(|source| source.other_versions(&self.extensions));
        other
            .map(|(name, there, here)| {
                format!("extension {name} is {there} where the backup comes from, and {here} here")
            })
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
            (here("1.6", Some("1.4")), "is 1.4 where the backup comes from, and 1.6 here"),
            (here("1.6", None), "was not recorded"),
        ] {
            assert!(surroundings.of_other_version("cron.job", false).unwrap().contains(words));
        }
        let gone = here("1.6", Some("1.4")).of_other_version("cron.gone", false);
        assert!(gone.unwrap().contains("no such table here"));
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
