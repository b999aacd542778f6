//! Extensions whose library the server must load at its start: without the library the extension
//! cannot be created.

use std::collections::BTreeSet;

use longshore_core::check::Finding;
use longshore_core::discovery::preloaded_library;
use longshore_core::error::printable;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::client::Client;
use serde::Deserialize;

/// The libraries that the server has loaded.
#[derive(Debug, Deserialize)]
pub(crate) struct LoadedLibraries {
    /// Nothing if the role may not read the setting.
    libraries: Option<String>,
    /// The only database in which pg_cron can be created.
    cron_database: Option<String>,
}

const LOADED: &str = "select json_build_object(
    'libraries', (select setting from pg_catalog.pg_settings where name = 'shared_preload_libraries'),
    'cron_database', pg_catalog.current_setting('cron.database_name', true))";

impl LoadedLibraries {
    /// Queries the target.
    pub(crate) async fn query(client: &Client) -> Result<Self> {
        client.query(LOADED).await
    }

    /// Returns findings for extensions that cannot be created. `is_whole` is true if the whole
    /// backup is restored.
    pub(crate) fn findings(
        &self,
        subject: &str,
        database: &str,
        extensions: &BTreeSet<String>,
        is_whole: bool,
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut add_finding = |message: String, hint: String| {
            let error = Error::new(Stage::Restore, Kind::Refused, subject, &message).hint(&hint);
            findings.push(match is_whole {
                true => Finding::failed(subject, &error),
                false => Finding::warning(subject, message, hint),
            });
        };
        if let Some(libraries) = &self.libraries {
            let loaded: BTreeSet<&str> = libraries.split(',').map(|name| name.trim().trim_matches('"')).collect();
            let is_loaded = |library: &str| {
                loaded
                    .iter()
                    .any(|name| name.rsplit('/').next().is_some_and(|name| name.trim_end_matches(".so") == library))
            };
            let required = extensions.iter().filter_map(|extension| Some((extension, preloaded_library(extension)?)));
            for (extension, library) in required.filter(|(_, library)| !is_loaded(library)) {
                add_finding(
                    format!("the extension \"{extension}\" needs a server that loads \"{library}\" at startup"),
                    "add it to shared_preload_libraries in the target and restart it, or exclude the extension: --list-file"
                        .to_owned(),
                );
            }
        }
        let other_database = self
            .cron_database
            .as_deref()
            .filter(|other_database| *other_database != database && extensions.contains("pg_cron"));
        if let Some(other_database) = other_database {
            add_finding(
                format!("the extension \"pg_cron\" can only be created in database \"{}\"", printable(other_database)),
                "set cron.database_name in the target and restart it, or exclude the extension: --list-file".to_owned(),
            );
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::check::Outcome;

    use super::*;

    #[test]
    fn findings_name_libraries_that_are_not_loaded() {
        let outcomes = |libraries: Option<&str>, cron: Option<&str>, is_whole| {
            let loaded_libraries =
                LoadedLibraries { libraries: libraries.map(str::to_owned), cron_database: cron.map(str::to_owned) };
            let findings = loaded_libraries.findings("appdb", "appdb", &["pg_cron".to_owned()].into(), is_whole);
            findings.iter().map(|finding| finding.outcome).collect::<Vec<_>>()
        };
        assert_eq!(outcomes(Some("pg_stat_statements"), None, true), [Outcome::Failed]);
        assert_eq!(outcomes(Some(""), None, false), [Outcome::Warning]);
        assert_eq!(outcomes(Some("auto_explain, \"$libdir/pg_cron\""), Some("appdb"), true), []);
        assert_eq!(outcomes(Some("pg_cron"), Some("postgres"), true), [Outcome::Failed]);
        assert_eq!(outcomes(None, None, true), []);
    }
}
