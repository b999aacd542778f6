//! A cluster that answers queries, and commands that connect to it as libpq does, including
//! `.pgpass`, services and `PG*` variables.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use longshore_core::plugin::Cluster;
use longshore_core::{Error, Kind, Result, Stage};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use tokio::process::Command;

use crate::child::{Exit, Pipes, Process};
use crate::conninfo::ConnInfo;
use crate::session::{Purpose, ServerFacts, Session};
use crate::tool::{self, Tool, Toolbox, Version};

/// The time limit of a query.
const QUERY_TIMEOUT: Duration = Duration::from_secs(120);

/// A cluster to connect to.
#[derive(Debug, Clone)]
pub struct Client {
    cluster: Cluster,
    conninfo: ConnInfo,
    password: Option<SecretString>,
    toolbox: Arc<Toolbox>,
    session: Session,
    /// The database that sessions use for maintenance. Clones share it.
    maintenance: Arc<OnceLock<&'static str>>,
}

/// The database that every new cluster has, and that may be dropped.
const POSTGRES: &str = "postgres";
/// The database that every cluster needs.
const TEMPLATE1: &str = "template1";

/// The query whether sessions may connect to the database `postgres`.
const HAS_POSTGRES: &str = "select to_json(exists (select from pg_catalog.pg_database
    where datname = 'postgres' and datallowconn and has_database_privilege(session_user, oid, 'connect')))";

impl Client {
    /// Creates a client of `cluster`. Does not connect yet.
    pub fn new(cluster: &Cluster) -> Result<Self> {
        let mut conninfo = ConnInfo::parse(&cluster.connection)?;
        let session = Session::of(&mut conninfo);
        let password = cluster.password.clone().or_else(|| conninfo.password().cloned());
        let toolbox = Arc::new(Toolbox::new(cluster.bin_dir.as_deref()));
        Ok(Self { cluster: cluster.clone(), conninfo, password, toolbox, session, maintenance: Arc::default() })
    }

    /// Returns the same client, whose programs write: their sessions are not read-only by default.
    #[must_use]
    pub fn writing(mut self) -> Self {
        self.session.purpose = Purpose::Write;
        self
    }

    /// Returns the same client, whose programs read and write money in `locale`.
    pub(crate) fn with_money(&self, locale: &str) -> Self {
        let mut client = self.clone();
        client.session.money = Some(locale.into());
        client
    }

    /// Returns the settings of the client's sessions.
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Returns the cluster's name in the configuration.
    pub fn name(&self) -> &str {
        &self.cluster.name
    }

    /// Returns a client of the same cluster that connects to another database.
    #[must_use]
    pub fn to_database(&self, name: &str) -> Self {
        let mut client = self.clone();
        client.conninfo.set("dbname", name);
        client
    }

    /// Returns a client of the same cluster that connects to a database other than `name`: to
    /// `postgres`, or to `template1` if `name` is `postgres` or if `postgres` is missing.
    #[must_use]
    pub fn to_maintenance_database(&self, name: &str) -> Self {
        let maintenance = self.maintenance.get().copied().unwrap_or(POSTGRES);
        self.to_database(if name == maintenance { TEMPLATE1 } else { maintenance })
    }

    /// Finds the database that [`Client::to_maintenance_database`] connects to, with a session of
    /// `template1`.
    pub async fn find_maintenance_database(&self) -> Result<()> {
        let has_postgres: bool = self.to_database(TEMPLATE1).query(HAS_POSTGRES).await?;
        self.maintenance.get_or_init(|| if has_postgres { POSTGRES } else { TEMPLATE1 });
        Ok(())
    }

    /// Returns the database that the connection string names, if any.
    pub fn database(&self) -> Option<&str> {
        self.conninfo.get("dbname")
    }

    /// Finds a program that supports servers of this version.
    pub async fn tool(&self, name: &'static str, server: &Version) -> Result<Tool> {
        self.toolbox.find(name, Some(server)).await
    }

    /// Finds the newest program of this name, for work without a server.
    pub async fn newest_tool(&self, name: &'static str) -> Result<Tool> {
        self.toolbox.find(name, None).await
    }

    /// Returns a command that connects to the cluster. The connection string is passed in argv, the
    /// password only in the environment. The sessions have the settings that a dump relies on, and
    /// all of them after [`Server::query`](crate::server::Server::query) has queried the server.
    pub fn command(&self, tool: &Tool) -> Command {
        let purpose = self.session.purpose;
        self.command_with(tool, |session, conninfo, command| session.add_options(conninfo, command, purpose))
    }

    /// Returns a command that connects to the cluster, with the options that `set` adds.
    fn command_with(&self, tool: &Tool, set: impl FnOnce(&Session, &mut ConnInfo, &mut Command)) -> Command {
        let mut command = plain_command(tool);
        let mut conninfo = self.conninfo.clone();
        set(&self.session, &mut conninfo, &mut command);
        if std::env::var_os("PGCONNECT_TIMEOUT").is_none() {
            command.env("PGCONNECT_TIMEOUT", "30");
        }
        command.env("PGAPPNAME", "longshore").env("PGCLIENTENCODING", "UTF8");
        if let Some(password) = &self.password {
            command.env("PGPASSWORD", password.expose_secret());
        }
        command.arg(format!("--dbname={conninfo}")).arg("--no-password");
        command
    }

    /// Returns a `psql` command that connects to the cluster, reads no start-up file and ends with
    /// exit status 3 at the first error. Its encoding is UTF-8. Names in its SQL are resolved by
    /// the database's own settings.
    pub async fn psql(&self) -> Result<Command> {
        if !self.session.is_set_up() {
            self.session.set_up(self.query(&format!("select {}", ServerFacts::sql())).await?);
        }
        let purpose = self.session.purpose;
        self.psql_with(|session, conninfo, command| session.add_options(conninfo, command, purpose)).await
    }

    /// Returns a `psql` command that connects to the cluster, with the options that `set` adds.
    pub(crate) async fn psql_with(&self, set: impl FnOnce(&Session, &mut ConnInfo, &mut Command)) -> Result<Command> {
        let psql = self.newest_tool("psql").await?;
        let mut client = self.clone();
        if self.database().is_none() && self.conninfo.get("service").is_none() && !has_environment_database() {
            client.conninfo.set("dbname", "postgres");
        }
        client.conninfo.set("client_encoding", "UTF8");
        let mut command = client.command_with(&psql, set);
        command.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--set=VERBOSITY=verbose"]);
        Ok(command)
    }

    /// Returns the answer to a query that returns one JSON value.
    pub async fn query<T: DeserializeOwned>(&self, query: &str) -> Result<T> {
        let answer = self.execute(query).await?;
        serde_json::from_str(&answer).map_err(|error| {
            Error::new(Stage::Connect, Kind::Failed, self.name(), "the server's answer has an unexpected form")
                .because(error)
        })
    }

    /// Runs SQL and returns its output, unaligned and without headings.
    pub async fn execute(&self, sql: &str) -> Result<String> {
        let (answer, exit) = self.run(sql).await?;
        if exit.status.success() { Ok(answer) } else { Err(self.sql_error(Stage::Connect, self.name(), &exit).await) }
    }

    /// Returns the answer to a query that returns one JSON value, or `None` if the query fails.
    pub(crate) async fn try_query<T: DeserializeOwned>(&self, query: &str) -> Option<T> {
        let (answer, exit) = self.run(query).await.ok()?;
        exit.status.success().then(|| serde_json::from_str(&answer).ok()).flatten()
    }

    /// Runs our own SQL and returns its output and the result of psql.
    async fn run(&self, sql: &str) -> Result<(String, Exit)> {
        self.answer(self.psql_for_queries().await?, &[sql]).await
    }

    /// Returns a `psql` command that connects to the cluster, for our own SQL.
    pub(crate) async fn psql_for_queries(&self) -> Result<Command> {
        let set = |session: &Session, conninfo: &mut ConnInfo, command: &mut Command| {
            session.add_options(conninfo, command, Purpose::Query);
        };
        self.psql_with(set).await
    }

    /// Runs SQL in psql, each statement as a transaction, and returns the output and the result.
    pub(crate) async fn answer(&self, mut psql: Command, statements: &[impl AsRef<str>]) -> Result<(String, Exit)> {
        psql.args(["--no-align", "--tuples-only"]);
        for statement in statements {
            psql.args(["--command", statement.as_ref()]);
        }
        let started = Instant::now();
        let mut process = Process::start(psql, "psql", Pipes::Output)?;
        let answering = async {
            let mut answer = Vec::new();
            if let Some(mut stdout) = process.stdout.take() {
                use tokio::io::AsyncReadExt;
                let read = stdout.read_to_end(&mut answer).await;
                read.map_err(|error| Error::io(Stage::Connect, self.name(), "cannot read psql's answer", error))?;
            }
            Ok((String::from_utf8_lossy(&answer).into_owned(), process.wait().await?))
        };
        let answer = tokio::time::timeout(QUERY_TIMEOUT, answering).await.unwrap_or_else(|_| {
            let message = format!("the server did not answer within {} s", QUERY_TIMEOUT.as_secs());
            Err(Error::new(Stage::Connect, Kind::Unavailable, self.name(), message))
        });
        let (cluster, database, elapsed) = (self.name(), self.database(), started.elapsed());
        tracing::debug!(target: "longshore::sql", cluster, database, sql = one_line(statements), ?elapsed, "executed");
        answer
    }
}

/// Returns statements on one line, for the log. Our own statements contain no secret.
fn one_line(statements: &[impl AsRef<str>]) -> String {
    let words = statements.iter().flat_map(|statement| statement.as_ref().split_whitespace());
    words.collect::<Vec<_>>().join(" ")
}

/// Returns a command that does not connect: times are in UTC, dates as its session has them,
/// messages in the language in which errors are parsed.
pub fn plain_command(tool: &Tool) -> Command {
    let mut command = tool::command(&tool.path);
    // libpq sends the date format as a separate setting, which overrides the one in `options`.
    command.env("PGTZ", "UTC").env("LC_ALL", "C").env_remove("PGDATESTYLE");
    command
}

/// Returns true if libpq takes the database from the environment.
fn has_environment_database() -> bool {
    ["PGDATABASE", "PGSERVICE"].iter().any(|name| std::env::var_os(name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn template1_replaces_a_missing_maintenance_database() {
        let cluster = Cluster { name: "main".into(), connection: "dbname=app".into(), password: None, bin_dir: None };
        let client = Client::new(&cluster).unwrap();
        let maintenance_for = |name: &str| client.to_maintenance_database(name).database().map(str::to_owned);
        assert_eq!(
            (maintenance_for("app"), maintenance_for("postgres")),
            (Some(POSTGRES.to_owned()), Some(TEMPLATE1.to_owned()))
        );
        client.clone().maintenance.set(TEMPLATE1).unwrap();
        assert_eq!(
            (maintenance_for("app"), maintenance_for("postgres")),
            (Some(TEMPLATE1.to_owned()), Some(TEMPLATE1.to_owned()))
        );
    }

    #[test]
    fn command_ignores_pgdatestyle() {
        let cluster = Cluster { name: "main".into(), connection: String::new().into(), password: None, bin_dir: None };
        let tool = Tool { name: "psql", path: "psql".into(), version: Version::parse("15.1").unwrap() };
        let command = Client::new(&cluster).unwrap().command(&tool);
        assert!(command.as_std().get_envs().any(|variable| variable == ("PGDATESTYLE".as_ref(), None)));
    }

    #[test]
    fn commands_do_not_inherit_the_passphrase() {
        let cluster = Cluster { name: "main".into(), connection: String::new().into(), password: None, bin_dir: None };
        let tool = Tool { name: "psql", path: "psql".into(), version: Version::parse("15.1").unwrap() };
        for command in [plain_command(&tool), Client::new(&cluster).unwrap().command(&tool)] {
            let passphrase = ("LONGSHORE_IDENTITY_PASSPHRASE".as_ref(), None);
            assert!(command.as_std().get_envs().any(|variable| variable == passphrase));
        }
    }
}
