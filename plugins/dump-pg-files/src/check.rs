//! The check before a run.

use longshore_core::check::Finding;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_base::settings::Wal;
use longshore_pg_client::client::Client;

use crate::dumper::{self, blocking};
use crate::listing::{Listing, UnloggedContent};
use crate::location::Location;
use crate::session::{RIGHTS, ServerFacts};
use crate::settings::PgFiles;
use crate::source::StoppedCluster;

/// Checks everything that a backup needs, without starting one. Returns the folders of the cluster,
/// too, if they can be read.
pub(crate) async fn findings(settings: &PgFiles, client: &Client) -> (Vec<Finding>, Option<Location>) {
    let subject = format!("cluster {}", client.name());
    let facts = match ServerFacts::query(client).await {
        Ok(facts) => facts,
        Err(error) => return (vec![Finding::failed(subject, &error)], None),
    };
    let mut findings = vec![server(client, &facts, &subject)];
    findings.extend(rights(settings, client, &facts).map(|error| Finding::failed(&subject, &error)));
    if facts.data_checksums == "off" {
        let message = "the cluster has no page checksums: damage of its pages is backed up unnoticed";
        let hint = "run `pg_checksums --enable` while the server is stopped";
        findings.push(Finding::warning(&subject, message, hint));
    }
    match files(settings, client, &facts).await {
        Ok((location, listing)) => {
            let (path, count) = (location.data.display(), listing.entries.len());
            findings.push(Finding::good(&subject, format!("{path}: {count} files and folders can be listed")));
            (findings, Some(location))
        }
        Err(error) => {
            findings.push(Finding::failed(&subject, &error));
            (findings, None)
        }
    }
}

/// Returns the finding about a cluster that was shut down.
pub(crate) fn of_stopped(cluster: &StoppedCluster, subject: String) -> Finding {
    Finding::good(subject, format!("{}: shut down, and backed up as it is", cluster.location.data.display()))
}

fn server(client: &Client, facts: &ServerFacts, subject: &str) -> Finding {
    match dumper::version(&facts.version, client.name()) {
        Ok(version) => {
            let standby = if facts.is_standby { ", a standby" } else { "" };
            Finding::good(subject, format!("PostgreSQL {version}{standby}"))
        }
        Err(error) => Finding::failed(subject, &error),
    }
}

/// Returns an error about rights and settings that a backup lacks.
fn rights(settings: &PgFiles, client: &Client, facts: &ServerFacts) -> Option<Error> {
    let failed = |kind, message: &str| Error::new(Stage::Connect, kind, client.name(), message);
    if facts.wal_level == "minimal" {
        let error = failed(Kind::Failed, "wal_level = minimal allows no base backups");
        return Some(error.hint("set wal_level = replica on the server, and restart it"));
    }
    if !facts.may_back_up {
        return Some(failed(Kind::Denied, "the role may not run pg_backup_start and pg_backup_stop").hint(RIGHTS));
    }
    if settings.wal == Wal::Include && !facts.may_replicate {
        return Some(failed(Kind::Denied, "the role may not reserve WAL with a replication slot").hint(RIGHTS));
    }
    None
}

/// Lists the files.
async fn files(settings: &PgFiles, client: &Client, facts: &ServerFacts) -> Result<(Location, Listing)> {
    let major = dumper::version(&facts.version, client.name())?.major;
    let location = dumper::locate(settings, facts, client.name()).await?;
    let listed = location.clone();
    let listing = blocking(move || Listing::of(&listed, major, UnloggedContent::Omitted)).await?;
    Ok((location, listing))
}
