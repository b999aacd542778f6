//! The preflight check of the own client.

use std::path::Path;

use longshore_core::check::Finding;
use longshore_core::{Error, Kind, Result, SqlState, Stage};
use longshore_pg_client::client::Client;
use longshore_pg_replication::Connection;

use crate::catalog;
use crate::source::{Identity, Session, Source};

/// The settings that name files of the server outside of its data directory, if the installation
/// keeps them elsewhere, as Debian does.
const CONFIGURATION_FILES: [&str; 3] = ["config_file", "hba_file", "ident_file"];

/// The value of `max_slot_wal_keep_size` without a limit.
const NO_LIMIT: &str = "-1";

/// Checks everything that a backup needs.
pub(crate) async fn findings(source: &Source, client: &Client) -> Vec<Finding> {
    let subject = format!("cluster {}", source.name());
    let mut findings = Vec::new();
    match source.parameters() {
        Ok(parameters) => findings.extend(parameters.warnings.iter().map(|warning| {
            Finding::warning(&subject, warning.to_string(), "correct the file, or do not name it in the connection")
        })),
        Err(error) => return vec![Finding::failed(subject, &error)],
    }
    let mut check = match Checked::connect(source, client, subject.clone()).await {
        Ok(check) => check,
        Err(error) => {
            findings.push(Finding::failed(subject, &error));
            return findings;
        }
    };
    findings.push(check.server());
    for finding in [
        check.wal_level().await,
        check.wal_senders().await,
        check.slots().await,
        check.page_checksums().await,
        check.reserved_wal().await,
        check.idle_slots().await,
        check.configuration_files().await,
    ] {
        match finding {
            Ok(finding) => findings.extend(finding),
            Err(error) => findings.push(Finding::failed(&subject, &error)),
        }
    }
    findings
}

/// A server under check.
struct Checked<'a> {
    source: &'a Source,
    client: &'a Client,
    subject: String,
    connection: Connection,
    identity: Identity,
}

impl<'a> Checked<'a> {
    async fn connect(source: &'a Source, client: &'a Client, subject: String) -> Result<Self> {
        let mut connection = source.connect(Session::Active).await?;
        let identity = source.identify(&mut connection).await?;
        Ok(Self { source, client, subject, connection, identity })
    }

    async fn show(&mut self, setting: &str) -> Result<String> {
        let shown = self.connection.show(setting).await;
        shown.map_err(|error| self.source.error(&format!("cannot query the setting {setting}"), error))
    }

    /// Returns the value of a setting, unless the role may not read the setting.
    async fn show_if_allowed(&mut self, setting: &str) -> Result<Option<String>> {
        match self.show(setting).await {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.sqlstate() == Some(SqlState::INSUFFICIENT_PRIVILEGE) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn failed(&self, message: impl Into<String>, hint: &str) -> Finding {
        let error = Error::new(Stage::Connect, Kind::Failed, self.source.name(), message).hint(hint);
        Finding::failed(&self.subject, &error)
    }

    fn server(&self) -> Finding {
        let standby = if self.identity.is_standby { ", a standby" } else { "" };
        let tls = if self.connection.is_encrypted() { ", with TLS" } else { "" };
        let message = format!("PostgreSQL {}{standby}, connected for replication{tls}", self.identity.version);
        Finding::good(&self.subject, message)
    }

    async fn wal_level(&mut self) -> Result<Option<Finding>> {
        let level = self.show("wal_level").await?;
        let hint = "set wal_level = replica on the server, and restart it";
        Ok((level == "minimal").then(|| self.failed("wal_level = minimal allows no base backups", hint)))
    }

    /// Opens a second connection, as a backup does.
    async fn wal_senders(&mut self) -> Result<Option<Finding>> {
        let second = self.source.connect(Session::Idle).await?;
        drop(second);
        let most = self.show("max_wal_senders").await?;
        let message = format!("two WAL senders are free, of max_wal_senders = {most}");
        Ok(Some(Finding::good(&self.subject, message)))
    }

    /// Warns of a limit that ends the idle slot of a long backup.
    async fn idle_slots(&mut self) -> Result<Option<Finding>> {
        if self.identity.version.major < 18 {
            return Ok(None);
        }
        let limit = self.show("idle_replication_slot_timeout").await?;
        let message =
            format!("idle_replication_slot_timeout = {limit}: a longer backup loses its reserved WAL, and may fail");
        let hint = "set idle_replication_slot_timeout = 0, or more than the duration of a backup";
        Ok((limit != "0").then(|| Finding::warning(&self.subject, message, hint)))
    }

    async fn slots(&mut self) -> Result<Option<Finding>> {
        let text = self.show("max_replication_slots").await?;
        let most: u64 = text.parse().map_err(|_| {
            let message = format!("max_replication_slots = {text:?} is not a number");
            Error::new(Stage::Connect, Kind::Failed, self.source.name(), message)
        })?;
        let in_use = if most == 0 { Some(0) } else { catalog::slots_in_use(self.client).await };
        let hint = "raise max_replication_slots on the server, or drop slots that no client uses";
        Ok(match in_use {
            Some(in_use) if in_use >= most => {
                let message =
                    format!("no replication slot is free: {in_use} of max_replication_slots = {most} are in use");
                Some(self.failed(message, hint))
            }
            Some(_) | None => None,
        })
    }

    async fn page_checksums(&mut self) -> Result<Option<Finding>> {
        let is_off = self.show("data_checksums").await? == "off";
        Ok(is_off.then(|| {
            let message = "the cluster has no page checksums: damage of its pages is backed up unnoticed";
            let hint = "run `pg_checksums --enable` while the server is stopped";
            Finding::warning(&self.subject, message, hint)
        }))
    }

    async fn reserved_wal(&mut self) -> Result<Option<Finding>> {
        let limit = self.show("max_slot_wal_keep_size").await?;
        let message = match limit.as_str() {
            NO_LIMIT => "the server keeps all WAL of a running backup (max_slot_wal_keep_size = -1)".to_owned(),
            limit => {
                format!("a backup fails if more than max_slot_wal_keep_size = {limit} of WAL is written meanwhile")
            }
        };
        Ok(Some(Finding::good(&self.subject, message)))
    }

    /// Warns of configuration files that no base backup contains.
    async fn configuration_files(&mut self) -> Result<Option<Finding>> {
        let Some(data_directory) = self.show_if_allowed("data_directory").await? else { return Ok(None) };
        let mut outside = Vec::new();
        for setting in CONFIGURATION_FILES {
            let path = self.show_if_allowed(setting).await?;
            outside.extend(path.filter(|path| is_outside(path, &data_directory)));
        }
        Ok((!outside.is_empty()).then(|| {
            let message =
                format!("not part of the backup, since outside of the data directory: {}", outside.join(", "));
            let hint = "back these files up in another way: a restored cluster needs a configuration";
            Finding::warning(&self.subject, message, hint)
        }))
    }
}

/// Returns true if a file is not below the data directory.
fn is_outside(path: &str, data_directory: &str) -> bool {
    !path.is_empty() && !Path::new(path).starts_with(data_directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_of_debian_is_outside() {
        let data = "/var/lib/postgresql/17/main";
        assert!(is_outside("/etc/postgresql/17/main/postgresql.conf", data));
        assert!(is_outside("/var/lib/postgresql/17/main2/pg_hba.conf", data));
        assert!(!is_outside("/var/lib/postgresql/17/main/postgresql.conf", data));
        assert!(!is_outside("", data), "a server without the file");
    }
}
