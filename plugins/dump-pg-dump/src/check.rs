//! The check of settings, privileges and tools before a run.

use std::time::SystemTime;

use async_trait::async_trait;
use longshore_core::check::{Check, Finding};
use longshore_core::{Error, Kind, Stage};
use longshore_pg_client::leftover;
use longshore_pg_client::server::{Database, identifier};

use crate::settings::DumpFormat;
use crate::{Dumper, ServerFacts, arguments, directory};

#[async_trait]
impl Check for Dumper {
    async fn check(&self) -> Vec<Finding> {
        let subject = format!("cluster {}", self.client.name());
        let facts = match self.server_facts().await {
            Ok(facts) => facts,
            Err(error) => return vec![Finding::failed(subject, &error)],
        };
        let ServerFacts { server, pg_dump, .. } = facts;
        let mut findings = server.findings(&self.client, SystemTime::now());

        if let Err(error) =
            arguments::compression_argument(&self.site.compress_by, self.settings.format, &pg_dump.version)
        {
            findings.push(Finding::failed("compression", &error));
        }
        let selected = self.selected(facts);
        let bytes: u64 = selected.databases.iter().filter_map(|database| database.bytes).sum();
        let summary = format!("{} to dump, {} MiB on disk", selected.databases.len(), bytes >> 20);
        if selected.databases.is_empty() {
            let error = Error::new(Stage::Dump, Kind::NotFound, "", summary).hint("check databases and exclude");
            findings.push(Finding::failed("databases", &error));
        } else {
            findings.push(Finding::good("databases", summary));
        }
        for database in selected.databases {
            findings.extend(connection_finding(database, server.superuser, self.connections_per_dump()));
        }

        match leftover::find(&self.client).await {
            Ok(left) => findings.extend(left.iter().map(|left| left.finding("databases"))),
            Err(error) => findings.push(Finding::failed("databases", &error)),
        }

        findings.push(Finding::good("pg_dump", pg_dump.to_string()));
        if let Some(warning) = server.version().ok().and_then(|version| pg_dump.warning(&version)) {
            let major = pg_dump.version.major;
            let remedy = format!(
                "install the client programs of the server's version, or restore into PostgreSQL {major} or newer"
            );
            findings.push(Finding::warning("pg_dump", warning, remedy));
        }
        if !server.reads_all_data {
            findings.push(Finding::warning(
                &subject,
                format!("role {} lacks pg_read_all_data: an unreadable table fails the dump", server.role),
                format!("grant pg_read_all_data to \"{}\"", server.role),
            ));
        }
        if !server.bypasses_row_security {
            findings.push(Finding::warning(
                &subject,
                format!("role {} does not bypass row security: a table with row security fails the dump", server.role),
                format!("alter role \"{}\" bypassrls", server.role),
            ));
        }
        if let (DumpFormat::Directory, Some(scratch)) = (self.settings.format, &self.site.scratch_dir) {
            findings.extend(directory::findings(scratch, bytes));
        }
        if self.settings.format == DumpFormat::Tar {
            findings.push(Finding::warning(
                "pg_dump",
                "format = \"tar\" writes every table twice, first to /tmp",
                "use format = \"custom\", which restores as well",
            ));
        }
        findings
    }
}

/// Checks whether the connection limit of a database leaves enough connections for its dump.
fn connection_finding(database: &Database, superuser: bool, each: u32) -> Option<Finding> {
    let Database { name, connection_limit: limit, sessions, .. } = database;
    let needed = i64::from(each) + 1;
    if superuser || *limit < 0 || limit - sessions >= needed {
        return None;
    }
    let in_use = if *sessions > 0 { format!(", {sessions} in use") } else { String::new() };
    let message = format!("connection limit {limit}{in_use}, but its dump needs {needed}, one of them for queries");
    let error = Error::new(Stage::Dump, Kind::Failed, name, message)
        .hint(format!("raise the limit: alter database {} connection limit …", identifier(name)));
    Some(Finding::failed("databases", &error))
}

#[cfg(test)]
mod tests {
    use longshore_core::check::Outcome;
    use longshore_core::manifest::DatabaseFacts;

    use super::*;

    #[test]
    fn connection_finding_fails_if_the_limit_is_too_low() {
        let outcome = |connection_limit, sessions, superuser, each| {
            let facts = DatabaseFacts {
                encoding: "UTF8".into(),
                collate: "C".into(),
                ctype: "C".into(),
                locale_provider: "libc".into(),
                locale: None,
                monetary: None,
            };
            let database = Database {
                name: "app".into(),
                allows_connections: true,
                may_connect: true,
                connection_limit,
                sessions,
                invalid: false,
                template: false,
                bytes: None,
                facts,
            };
            connection_finding(&database, superuser, each).map(|finding| finding.outcome)
        };
        assert_eq!(outcome(-1, 90, false, 1), None);
        assert_eq!(outcome(2, 0, false, 1), None);
        assert_eq!(outcome(1, 0, false, 1), Some(Outcome::Failed));
        assert_eq!(outcome(5, 4, false, 1), Some(Outcome::Failed));
        assert_eq!(outcome(5, 0, false, 5), Some(Outcome::Failed));
        assert_eq!(outcome(1, 0, true, 1), None);
    }
}
