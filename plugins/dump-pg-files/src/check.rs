//! The check before a run.

use std::path::Path;

use longshore_core::check::Finding;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_base::settings::Wal;
use longshore_pg_client::client::Client;

use crate::dumper;
use crate::listing::Listing;
use crate::location::{self, Location, unreadable};
use crate::session::{RIGHTS, ServerFacts};

/// The objects of a check.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checked<'a> {
    pub(crate) client: &'a Client,
    /// The configured data directory.
    pub(crate) data_directory: Option<&'a Path>,
    pub(crate) wal: Wal,
}

/// Checks everything that a backup needs, without starting one.
pub(crate) async fn findings(checked: Checked<'_>) -> Vec<Finding> {
    let subject = format!("cluster {}", checked.client.name());
    let facts = match ServerFacts::query(checked.client).await {
        Ok(facts) => facts,
        Err(error) => return vec![Finding::failed(subject, &error)],
    };
    let mut findings = vec![server(&checked, &facts, &subject)];
    findings.extend(rights(&checked, &facts).map(|error| Finding::failed(&subject, &error)));
    if facts.data_checksums == "off" {
        let message = "the cluster has no page checksums: damage of its pages is backed up unnoticed";
        let hint = "run `pg_checksums --enable` while the server is stopped";
        findings.push(Finding::warning(&subject, message, hint));
    }
    findings.push(match files(checked, &facts).await {
        Ok((path, listing)) => {
            let message = format!("{path}: {} files and folders can be listed", listing.entries.len());
            Finding::good(&subject, message)
        }
        Err(error) => Finding::failed(&subject, &error),
    });
    findings
}

fn server(checked: &Checked<'_>, facts: &ServerFacts, subject: &str) -> Finding {
    match dumper::version(&facts.version, checked.client.name()) {
        Ok(version) => {
            let standby = if facts.is_standby { ", a standby" } else { "" };
            Finding::good(subject, format!("PostgreSQL {version}{standby}"))
        }
        Err(error) => Finding::failed(subject, &error),
    }
}

/// Returns an error about rights and settings that a backup lacks.
fn rights(checked: &Checked<'_>, facts: &ServerFacts) -> Option<Error> {
    let failed = |kind, message: &str| Error::new(Stage::Connect, kind, checked.client.name(), message);
    if facts.wal_level == "minimal" {
        let error = failed(Kind::Failed, "wal_level = minimal allows no base backups");
        return Some(error.hint("set wal_level = replica on the server, and restart it"));
    }
    if !facts.may_back_up {
        return Some(failed(Kind::Denied, "the role may not run pg_backup_start and pg_backup_stop").hint(RIGHTS));
    }
    if checked.wal == Wal::Include && !facts.may_replicate {
        return Some(failed(Kind::Denied, "the role may not reserve WAL with a replication slot").hint(RIGHTS));
    }
    None
}

/// Lists the files, and reads one whose mode is that of the others.
async fn files(checked: Checked<'_>, facts: &ServerFacts) -> Result<(String, Listing)> {
    let major = dumper::version(&facts.version, checked.client.name())?.major;
    let data = location::data_directory(checked.data_directory, facts, checked.client.name())?;
    let facts = facts.clone();
    let list = tokio::task::spawn_blocking(move || {
        location::expect_data_of(&data, &facts)?;
        let location = Location::of(&data).map_err(|error| unreadable(&data, error))?;
        Ok((data.display().to_string(), Listing::of(&location, major)?))
    });
    list.await.map_err(|error| Error::new(Stage::Dump, Kind::Failed, "base", "cannot list the files").because(error))?
}
