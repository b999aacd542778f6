//! What would fail at 3 a.m.

use std::time::SystemTime;

use async_trait::async_trait;
use longshore_core::check::{Check, Finding};
use longshore_core::manifest::Format;
use longshore_core::{Error, Kind, Stage};

use crate::{Dumper, Known, arguments, directory};

#[async_trait]
impl Check for Dumper {
    async fn check(&self) -> Vec<Finding> {
        let subject = format!("cluster {}", self.client.name());
        let Known { server, databases, pg_dump } = match self.known().await {
            Ok(known) => known,
            Err(error) => return vec![Finding::failed(subject, &error)],
        };
        let mut findings = server.findings(&self.client, SystemTime::now());

        if let Err(error) = arguments::packing(&self.site.packing, self.settings.format, &pg_dump.version) {
            findings.push(Finding::failed("compression", &error));
        }
        let selected = self.selection.choose(databases);
        let bytes: u64 = selected.databases.iter().filter_map(|database| database.bytes).sum();
        let found = format!("{} to dump, {} MiB on disk", selected.databases.len(), bytes >> 20);
        if selected.databases.is_empty() {
            let error = Error::new(Stage::Dump, Kind::NotFound, "", found).hint("look at databases and exclude");
            findings.push(Finding::failed("databases", &error));
        } else {
            findings.push(Finding::good("databases", found));
        }
        findings.extend(selected.missing.iter().map(|error| Finding::failed("databases", error)));
        for warning in selected.warnings {
            findings.push(Finding::warning("databases", warning, "correct the pattern, or remove it"));
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
                format!(
                    "role {} reads only what it was granted: a table that it may not read fails the dump",
                    server.role
                ),
                format!("grant pg_read_all_data to \"{}\"", server.role),
            ));
        }
        if !server.bypasses_row_security {
            findings.push(Finding::warning(
                &subject,
                format!("role {} does not bypass row security: a table that has it fails the dump", server.role),
                format!("alter role \"{}\" bypassrls", server.role),
            ));
        }
        if let (Format::Directory, Some(scratch)) = (self.settings.format, &self.site.scratch_dir) {
            findings.extend(directory::findings(scratch, bytes));
        }
        if self.settings.format == Format::Tar {
            findings.push(Finding::warning(
                "pg_dump",
                "format = \"tar\" writes every table twice, and to /tmp first",
                "use format = \"custom\", which restores as well",
            ));
        }
        findings
    }
}
