//! Replication connections to the cluster, and the identity of its server.

use std::time::Duration;

use longshore_core::plugin::Cluster;
use longshore_core::{Error, Kind, Result, SqlState, Stage};
use longshore_pg_client::conninfo::ConnInfo;
use longshore_pg_client::tool::Version;
use longshore_pg_replication::parameters::Keepalives;
use longshore_pg_replication::{Connection, Parameters, connect};

use crate::failure;

/// The oldest major version whose backups are supported.
const OLDEST_MAJOR: u32 = 15;

/// The number of attempts at a connection, and the time between them. The server may still count an
/// earlier connection that has been closed.
const ATTEMPTS: usize = 4;
const RETRY_DELAY: Duration = Duration::from_millis(300);

/// The time that a host may take to answer, in seconds, if the user has set no other limit.
const CONNECT_TIMEOUT_SECONDS: &str = "30";

/// The option of a session that stays idle while a backup runs. A role may have a timeout of its
/// own.
const NEVER_IDLE: &str = "-c idle_session_timeout=0";

/// The server of a cluster.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    cluster: Cluster,
}

/// The identity of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The server's version.
    pub(crate) version: Version,
    /// The number that `initdb` gave to the cluster.
    pub(crate) system_identifier: u64,
    /// True if the server is a standby.
    pub(crate) is_standby: bool,
}

/// The use of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session {
    /// The connection runs commands.
    Active,
    /// The connection stays idle, to hold what belongs to its session.
    Idle,
}

impl Source {
    /// Returns the server of `cluster`. Does not connect yet.
    pub(crate) fn new(cluster: &Cluster) -> Self {
        Self { cluster: cluster.clone() }
    }

    /// Returns the cluster's name in the configuration.
    pub(crate) fn name(&self) -> &str {
        &self.cluster.name
    }

    /// Returns the parameters of a connection. Reads the service file and the password file each
    /// time, since both may change while the program runs.
    pub(crate) fn parameters(&self) -> Result<Parameters> {
        let conninfo = ConnInfo::parse(&self.cluster.connection)?;
        let keywords = conninfo.keywords().map(|(keyword, value)| (keyword.to_owned(), value.to_owned()));
        let password = self.cluster.password.clone().or_else(|| conninfo.password().cloned());
        let parameters = Parameters::resolve(keywords, password, &variable);
        parameters.map_err(|error| self.error("invalid parameters of the replication connection", error.into()))
    }

    /// Opens a replication connection.
    pub(crate) async fn connect(&self, session: Session) -> Result<Connection> {
        self.connect_as(session, None).await
    }

    /// Opens a replication connection with an `application_name` that replaces the configured one.
    pub(crate) async fn connect_as(&self, session: Session, name: Option<&str>) -> Result<Connection> {
        let mut parameters = self.parameters()?;
        if let Some(name) = name {
            name.clone_into(&mut parameters.application_name);
        }
        // With the system's defaults, the loss of a host is noticed after two hours.
        if let Keepalives::Enable { idle, interval, count } = &mut parameters.tcp.keepalives {
            idle.get_or_insert(Duration::from_secs(60));
            interval.get_or_insert(Duration::from_secs(10));
            count.get_or_insert(6);
        }
        if session == Session::Idle {
            parameters.options = format!("{} {NEVER_IDLE}", parameters.options).trim_start().to_owned();
        }
        let mut attempt = 1;
        loop {
            match connect(&parameters).await {
                Ok(connection) => return Ok(connection),
                Err(error) if attempt < ATTEMPTS && is_busy(&error) => tokio::time::sleep(RETRY_DELAY).await,
                Err(error) => return Err(self.error("cannot connect for replication", error)),
            }
            attempt += 1;
        }
    }

    /// Returns the identity of the server. Fails for versions without support.
    pub(crate) async fn identify(&self, connection: &mut Connection) -> Result<Identity> {
        let version = self.version(&connection.facts().server_version)?;
        let failed = |error| self.error("cannot query the server's identity", error);
        let system_identifier = connection.identify_system().await.map_err(failed)?.system_identifier;
        let is_standby = connection.show("in_hot_standby").await.map_err(failed)? == "on";
        Ok(Identity { version, system_identifier, is_standby })
    }

    /// Returns the server's version, if it is supported.
    fn version(&self, text: &str) -> Result<Version> {
        let unreadable = || Error::new(Stage::Connect, Kind::Failed, text, "not a version of PostgreSQL");
        let version = Version::parse(text).ok_or_else(unreadable)?;
        if version.major < OLDEST_MAJOR {
            let message =
                format!("base backups of PostgreSQL {version} are not supported, only of {OLDEST_MAJOR} and newer");
            return Err(Error::new(Stage::Connect, Kind::Refused, self.name(), message)
                .hint("dump the databases with type = \"pg_dump\", or upgrade the server"));
        }
        Ok(version)
    }

    /// Returns the error of a connection to this server.
    pub(crate) fn error(&self, message: &str, error: longshore_pg_replication::Error) -> Error {
        failure::convert(Stage::Connect, self.name(), message, error)
    }
}

/// Returns the value of an environment variable, or the default of this program.
fn variable(name: &str) -> Option<String> {
    let default = || (name == "PGCONNECT_TIMEOUT").then(|| CONNECT_TIMEOUT_SECONDS.to_owned());
    // libpq cannot use a value that is not UTF-8 in a connection string either.
    std::env::var(name).ok().or_else(default)
}

/// Returns true if the server has no connection or WAL sender left.
fn is_busy(error: &longshore_pg_replication::Error) -> bool {
    error.server().is_some_and(|error| SqlState::parse(&error.sqlstate) == Some(SqlState::TOO_MANY_CONNECTIONS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(connection: &str) -> Source {
        let connection = connection.to_owned().into();
        Source::new(&Cluster { name: "main".to_owned(), connection, password: None, bin_dir: None })
    }

    #[test]
    fn versions_before_15_are_refused() {
        let source = source("");
        assert_eq!(source.version("17.12 (Debian 17.12-1.pgdg12+1)").unwrap().to_string(), "17.12");
        for text in ["14.20", "9.6.24"] {
            let error = source.version(text).unwrap_err();
            assert_eq!((error.kind(), error.subject()), (Kind::Refused, "main"));
            assert!(error.to_string().contains(text) && error.remedy().is_some(), "{error:?}");
        }
    }

    #[test]
    fn unknown_keywords_are_refused() {
        let error = source("host=db1 sslmod=require").parameters().unwrap_err();
        assert_eq!((error.stage(), error.kind()), (Stage::Connect, Kind::Usage));
        assert!(error.chain().contains("sslmod"), "{}", error.chain());
    }

    #[test]
    fn unsupported_keywords_lead_to_pg_basebackup() {
        let error = source("host=db1 gssencmode=require sslmode=disable").parameters().unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.remedy().is_some_and(|hint| hint.contains("client = \"pg_basebackup\"")), "{error:?}");
    }

    #[test]
    fn password_is_never_printed() {
        let source = source("host=db1 password=hunter2 sslmode=disable");
        let parameters = source.parameters().unwrap();
        assert!(parameters.hosts[0].password.is_some());
        assert!(!format!("{source:?} {parameters:?}").contains("hunter2"));
    }
}
