//! What would fail at 3 a.m.

use async_trait::async_trait;
use longshore_core::check::{Check, Finding};
use longshore_core::manifest::Format;

use crate::{Known, Stevedore, arguments};

#[async_trait]
impl Check for Stevedore {
    async fn check(&self) -> Vec<Finding> {
        let subject = format!("cluster {}", self.client.name());
        let Known { server, databases, pg_dump } = match self.known().await {
            Ok(known) => known,
            Err(error) => return vec![Finding::failed(subject, &error)],
        };
        let now = chrono::Utc::now().timestamp_micros() as f64 / 1e6;
        let mut findings = server.findings(&self.client, now);

        if let Err(error) = arguments::packing(&self.site.packing, self.settings.format, &pg_dump.version) {
            findings.push(Finding::failed("compression", &error));
        }
        let selected = self.selection.choose(databases);
        let bytes: u64 = selected.databases.iter().filter_map(|database| database.bytes).sum();
        let found = format!("{} to dump, {} MiB on disk", selected.databases.len(), bytes >> 20);
        if selected.databases.is_empty() {
            findings.push(Finding::warning("databases", found, "look at databases and exclude"));
        } else {
            findings.push(Finding::good("databases", found));
        }
        for warning in selected.warnings {
            findings.push(Finding::warning("databases", warning, "correct the pattern, or remove it"));
        }

        findings.push(Finding::good("pg_dump", pg_dump.to_string()));
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
