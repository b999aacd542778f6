//! The session of a backup: one connection from `pg_backup_start` to `pg_backup_stop`. If the
//! connection is lost, the server ends the backup, and the copy is useless.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use longshore_core::{Error, Kind, Result, SqlState, Stage};
use longshore_pg_base::label::BackupLabel;
use longshore_pg_base::manifest::WalRange;
use longshore_pg_base::settings::{Checkpoint, Wal};
use longshore_pg_client::client::Client;
use longshore_pg_client::open_session::OpenSession;
use longshore_pg_client::server::literal;
use longshore_pg_wal::Lsn;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

/// The time between two queries of an idle session. A lost connection is noticed within this time,
/// and routers forget connections that are idle for minutes.
pub(crate) const QUERY_INTERVAL: Duration = Duration::from_secs(20);

/// The hint for a role without the rights.
pub(crate) const RIGHTS: &str = "use a superuser, or grant the role pg_read_all_settings, and EXECUTE on \
    pg_backup_start(text, boolean) and pg_backup_stop(boolean); WAL in the backup needs REPLICATION, too";

const FACTS: &str = "select json_build_object(
    'version', current_setting('server_version'),
    'system_identifier', (select system_identifier::text from pg_control_system()),
    'is_standby', pg_is_in_recovery(),
    'port', current_setting('port'),
    'is_on_this_host', inet_server_addr() is null or inet_server_addr() <<= '127.0.0.0/8' or inet_server_addr() = '::1',
    'data_directory', case when pg_has_role('pg_read_all_settings', 'usage') then current_setting('data_directory') end,
    'may_back_up', has_function_privilege('pg_backup_start(text, boolean)', 'execute')
        and has_function_privilege('pg_backup_stop(boolean)', 'execute'),
    'may_replicate', (select rolreplication or rolsuper from pg_roles where rolname = current_user),
    'wal_level', current_setting('wal_level'),
    'data_checksums', current_setting('data_checksums'),
    'fsync', current_setting('fsync'),
    'tablespaces', (select coalesce(json_object_agg(oid::text, json_build_array(spcname, pg_tablespace_location(oid))), '{}')
        from pg_tablespace where spcname not in ('pg_default', 'pg_global')))";

/// Facts about the server and the rights of the role.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ServerFacts {
    pub(crate) version: String,
    pub(crate) system_identifier: String,
    pub(crate) is_standby: bool,
    pub(crate) port: String,
    /// True if the connection reaches no other host.
    is_on_this_host: bool,
    /// The data directory, unless the role may not read the setting.
    data_directory: Option<PathBuf>,
    pub(crate) may_back_up: bool,
    pub(crate) may_replicate: bool,
    pub(crate) wal_level: String,
    pub(crate) data_checksums: String,
    pub(crate) fsync: String,
    /// The names and folders of tablespaces, by OID.
    pub(crate) tablespaces: BTreeMap<u32, (String, PathBuf)>,
}

impl ServerFacts {
    /// Queries the server.
    pub(crate) async fn query(client: &Client) -> Result<Self> {
        client.query(FACTS).await
    }

    /// Returns the data directory, if the server runs on this host and the role may read the path.
    pub(crate) fn local_data_directory(&self) -> Option<&PathBuf> {
        self.data_directory.as_ref().filter(|_| self.is_on_this_host)
    }
}

/// The end of a backup.
#[derive(Debug, Deserialize)]
struct Stopped {
    lsn: String,
    /// The bytes of the files in hexadecimal digits.
    label: String,
    map: String,
    time: DateTime<Utc>,
    tablespaces: Vec<String>,
}

/// The end of a backup, and the files that the server has composed for it.
#[derive(Debug, Clone)]
pub(crate) struct BackupEnd {
    /// The WAL from the start to the position where the backup is consistent.
    pub(crate) range: WalRange,
    /// The content of `backup_label`, byte for byte; absent for a cluster that was shut down.
    pub(crate) label: Option<Vec<u8>>,
    /// The content of `tablespace_map`, byte for byte.
    pub(crate) tablespace_map: Vec<u8>,
    /// The time at the end by the server's clock, if a server runs.
    pub(crate) time: Option<DateTime<Utc>>,
}

/// A backup in progress at the server.
pub(crate) struct BackupSession {
    /// The connection, until it is closed.
    session: Option<OpenSession>,
    pub(crate) facts: ServerFacts,
    /// The position where recovery begins.
    pub(crate) start_lsn: Lsn,
    subject: String,
}

impl BackupSession {
    /// Starts a backup. If it is to contain WAL, a temporary replication slot of the session keeps
    /// the WAL until the end of the session.
    pub(crate) async fn start(
        client: &Client,
        label: &str,
        checkpoint: Checkpoint,
        wal: Wal,
        subject: &str,
    ) -> Result<Self> {
        let mut session = OpenSession::open(client).await?;
        let facts: ServerFacts = session.query(FACTS).await?;
        // The session is idle while files are read, and a role may have a timeout of its own.
        session.query::<String>("select to_json(set_config('idle_session_timeout', '0', false))").await?;
        if wal == Wal::Include {
            let name = format!("longshore_{}", Uuid::new_v4().simple());
            let create =
                format!("select to_json(slot_name) from pg_create_physical_replication_slot('{name}', true, true)");
            session.query::<String>(&create).await.map_err(|error| hinted(error, "cannot reserve WAL"))?;
        }
        let fast = checkpoint == Checkpoint::Fast;
        let start = format!("select to_json(pg_backup_start({}, {fast})::text)", literal(label));
        let start: String =
            session.query(&start).await.map_err(|error| hinted(error, "the server does not start a backup"))?;
        let start_lsn = parse_lsn(&start, subject)?;
        Ok(Self { session: Some(session), facts, start_lsn, subject: subject.to_owned() })
    }

    /// Fails if the connection is lost.
    pub(crate) async fn expect_alive(&mut self) -> Result<()> {
        self.query::<u32>("select to_json(1)").await.map(drop)
    }

    /// Stops the backup. The session stays open, and with it the reserved WAL.
    pub(crate) async fn stop(&mut self) -> Result<BackupEnd> {
        let stop = "select json_build_object('lsn', lsn::text,
            'label', encode(convert_to(labelfile, getdatabaseencoding()), 'hex'),
            'map', encode(convert_to(coalesce(spcmapfile, ''), getdatabaseencoding()), 'hex'),
            'time', clock_timestamp(),
            'tablespaces', (select json_agg(oid::text) from pg_tablespace)) from pg_backup_stop(false)";
        let stopped: Stopped = self.query(stop).await?;
        self.expect_no_new_tablespace(&stopped.tablespaces)?;
        let malformed =
            || Error::new(Stage::Dump, Kind::Failed, &self.subject, "the server sent a malformed backup_label");
        let content = decode_hex(&stopped.label).ok_or_else(malformed)?;
        let label = BackupLabel::parse(&content).map_err(|error| malformed().because(error.to_string()))?;
        let end = parse_lsn(&stopped.lsn, &self.subject)?;
        Ok(BackupEnd {
            range: WalRange { timeline: label.start_timeline, start: label.start_lsn, end },
            label: Some(content),
            tablespace_map: decode_hex(&stopped.map).ok_or_else(malformed)?,
            time: Some(stopped.time),
        })
    }

    /// Closes the connection, and with it releases the reserved WAL.
    pub(crate) async fn release(&mut self) -> Result<()> {
        match self.session.take() {
            Some(session) => session.close().await,
            None => Ok(()),
        }
    }

    async fn query<T: DeserializeOwned>(&mut self, query: &str) -> Result<T> {
        let answer = match &mut self.session {
            Some(session) => session.query(query).await,
            None => Err(Error::new(Stage::Dump, Kind::Failed, &self.subject, "the session has ended")),
        };
        answer.map_err(|error| self.lost(error))
    }

    /// Fails if a tablespace was created during the backup. The WAL of the backup contains its
    /// directory at the source, and a server that replays the WAL on the same host would write
    /// there.
    fn expect_no_new_tablespace(&self, oids: &[String]) -> Result<()> {
        // The first OID that users' objects have.
        let created = oids.iter().filter_map(|oid| oid.parse::<u32>().ok()).filter(|oid| *oid >= 16384);
        match created.into_iter().find(|oid| !self.facts.tablespaces.contains_key(oid)) {
            None => Ok(()),
            Some(oid) => {
                let message = format!("tablespace {oid} was created during the backup");
                Err(Error::new(Stage::Dump, Kind::Failed, &self.subject, message).hint("run the backup again"))
            }
        }
    }

    /// Returns the error of a session that was lost.
    fn lost(&self, error: Error) -> Error {
        let message = "the session of the backup was lost, and with it the backup at the server";
        Error::new(Stage::Dump, error.kind(), &self.subject, message).hint("run the backup again").because(error)
    }
}

/// Adds the rights that a role needs to an error about missing rights.
fn hinted(error: Error, message: &str) -> Error {
    let hint = match error.sqlstate() {
        Some(SqlState::INSUFFICIENT_PRIVILEGE) => Some(RIGHTS.to_owned()),
        _ => error.remedy().map(str::to_owned),
    };
    let kind = error.kind();
    let converted = Error::new(Stage::Connect, kind, error.subject(), message).because(error);
    match hint {
        Some(hint) => converted.hint(hint),
        None => converted,
    }
}

fn parse_lsn(text: &str, subject: &str) -> Result<Lsn> {
    text.parse().map_err(|error: longshore_pg_wal::lsn::InvalidLsn| {
        Error::new(Stage::Dump, Kind::Failed, subject, "the server sent an invalid position").because(error)
    })
}

/// Decodes hexadecimal digits. Returns `None` for others.
fn decode_hex(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = digits.as_bytes().chunks(2).map(|pair| match pair {
        [upper, lower] => Some(digit(*upper)? << 4 | digit(*lower)?),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_a_label_survives() {
        assert_eq!(decode_hex("4c0aff"), Some(vec![0x4C, b'\n', 0xFF]));
        assert_eq!((decode_hex("4c0"), decode_hex("zz")), (None, None));
    }
}
