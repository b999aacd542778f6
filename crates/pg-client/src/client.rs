//! A cluster that can be asked, and commands that connect to it as libpq would: `.pgpass`, services and `PG*` variables included.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use longshore_core::plugin::Cluster;
use longshore_core::{Error, Kind, Result, Stage};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use tokio::process::Command;

use crate::child::{Ended, Pipes, Running};
use crate::conninfo::ConnInfo;
use crate::session::{Known, Purpose, Session};
use crate::tool::{self, Tool, Toolbox, Version};

/// How long a question to the server may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A cluster to connect to.
#[derive(Debug, Clone)]
pub struct Client {
    cluster: Cluster,
    conninfo: ConnInfo,
    password: Option<SecretString>,
    toolbox: Arc<Toolbox>,
    session: Session,
    /// The database that the cluster lets sessions work from; clones share it.
    maintenance: Arc<OnceLock<&'static str>>,
}

/// The database that every cluster has when it is made, and that may be dropped.
const POSTGRES: &str = "postgres";
/// The database that no cluster works without.
const TEMPLATE: &str = "template1";

/// The question whether sessions may connect to the database `postgres`.
const HAS_POSTGRES: &str = "select to_json(exists (select from pg_catalog.pg_database
    where datname = 'postgres' and datallowconn and has_database_privilege(session_user, oid, 'connect')))";

impl Client {
    /// A client of `cluster`. Connects to nothing yet.
    pub fn new(cluster: &Cluster) -> Result<Self> {
        let mut conninfo = ConnInfo::parse(&cluster.connection)?;
        let session = Session::of(&mut conninfo);
        let password = cluster.password.clone().or_else(|| conninfo.password().cloned());
        let toolbox = Arc::new(Toolbox::new(cluster.bin_dir.as_deref()));
        Ok(Self { cluster: cluster.clone(), conninfo, password, toolbox, session, maintenance: Arc::default() })
    }

    /// The same client, whose programs write: their sessions are not read-only by default.
    #[must_use]
    pub fn writing(mut self) -> Self {
        self.session.purpose = Purpose::Write;
        self
    }

    /// The same client, whose programs read and write money in a locale.
    pub(crate) fn with_money(&self, locale: &str) -> Self {
        let mut client = self.clone();
        client.session.money = Some(locale.into());
        client
    }

    /// The settings of its sessions.
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// The cluster's name in the configuration.
    pub fn name(&self) -> &str {
        &self.cluster.name
    }

    /// The same cluster, connected to another database.
    #[must_use]
    pub fn to_database(&self, name: &str) -> Self {
        let mut client = self.clone();
        client.conninfo.set("dbname", name);
        client
    }

    /// The same cluster, connected to a database other than `name`: `postgres`, or where that is `name` or missing, `template1`.
    #[must_use]
    pub fn apart_from(&self, name: &str) -> Self {
        let maintenance = self.maintenance.get().copied().unwrap_or(POSTGRES);
        self.to_database(if name == maintenance { TEMPLATE } else { maintenance })
    }

    /// Finds out, by a session of `template1`, which database [`Client::apart_from`] connects to.
    pub async fn look_for_maintenance(&self) -> Result<()> {
        let has_postgres: bool = self.to_database(TEMPLATE).ask(HAS_POSTGRES).await?;
        self.maintenance.get_or_init(|| if has_postgres { POSTGRES } else { TEMPLATE });
        Ok(())
    }

    /// The database that the connection string names, if it does.
    pub fn database(&self) -> Option<&str> {
        self.conninfo.get("dbname")
    }

    /// Finds a program that can work with a server of this version.
    pub async fn tool(&self, name: &'static str, server: &Version) -> Result<Tool> {
        self.toolbox.find(name, Some(server)).await
    }

    /// The newest program of this name, for work without a server.
    pub async fn newest_tool(&self, name: &'static str) -> Result<Tool> {
        self.toolbox.find(name, None).await
    }

    /// A command that connects here. The connection string goes to its argv, the password to its environment alone.
    /// Its sessions have the settings that a dump relies on, all of them once [`Server::look`](crate::server::Server::look) has seen the server.
    pub fn command(&self, tool: &Tool) -> Command {
        let purpose = self.session.purpose;
        self.command_with(tool, |session, conninfo, command| session.set(conninfo, command, purpose))
    }

    /// A command that connects here, with the options that `set` gives it.
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

    /// `psql` connected here: no start-up file, and an error ends it with exit status 3. It speaks UTF-8, and names in
    /// what it runs are found as the database's own settings say.
    pub async fn psql(&self) -> Result<Command> {
        if !self.session.is_set_up() {
            self.session.learn(self.ask(&format!("select {}", Known::sql())).await?);
        }
        let purpose = self.session.purpose;
        self.psql_with(|session, conninfo, command| session.set(conninfo, command, purpose)).await
    }

    /// `psql` connected here, with the options that `set` gives it.
    pub(crate) async fn psql_with(&self, set: impl FnOnce(&Session, &mut ConnInfo, &mut Command)) -> Result<Command> {
        let psql = self.newest_tool("psql").await?;
        let mut client = self.clone();
        if self.database().is_none() && self.conninfo.get("service").is_none() && !from_environment() {
            client.conninfo.set("dbname", "postgres");
        }
        client.conninfo.set("client_encoding", "UTF8");
        let mut command = client.command_with(&psql, set);
        command.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--set=VERBOSITY=verbose"]);
        Ok(command)
    }

    /// The answer to a query that returns one JSON value.
    pub async fn ask<T: DeserializeOwned>(&self, query: &str) -> Result<T> {
        let answer = self.execute(query).await?;
        serde_json::from_str(&answer).map_err(|error| {
            Error::new(Stage::Connect, Kind::Failed, self.name(), "the server's answer is not what was asked for")
                .because(error)
        })
    }

    /// Runs SQL, and returns what it prints, unaligned and without headings.
    pub async fn execute(&self, sql: &str) -> Result<String> {
        let (answer, ended) = self.run(sql).await?;
        if ended.status.success() { Ok(answer) } else { Err(self.refusal(Stage::Connect, self.name(), &ended).await) }
    }

    /// The answer to a query that returns one JSON value; nothing where there is none, for whatever reason.
    pub(crate) async fn try_ask<T: DeserializeOwned>(&self, query: &str) -> Option<T> {
        let (answer, ended) = self.run(query).await.ok()?;
        ended.status.success().then(|| serde_json::from_str(&answer).ok()).flatten()
    }

    /// Runs SQL of our own, and returns what it prints and how psql ended.
    async fn run(&self, sql: &str) -> Result<(String, Ended)> {
        self.answer(self.psql_to_ask().await?, &[sql]).await
    }

    /// `psql` connected here, for SQL of our own.
    pub(crate) async fn psql_to_ask(&self) -> Result<Command> {
        let ask = |session: &Session, conninfo: &mut ConnInfo, command: &mut Command| {
            session.set(conninfo, command, Purpose::Ask);
        };
        self.psql_with(ask).await
    }

    /// Runs SQL by way of psql, each statement a transaction, and returns what it prints and how it ended.
    pub(crate) async fn answer(&self, mut psql: Command, statements: &[impl AsRef<str>]) -> Result<(String, Ended)> {
        psql.args(["--no-align", "--tuples-only"]);
        for statement in statements {
            psql.args(["--command", statement.as_ref()]);
        }
        let mut running = Running::start(psql, "psql", Pipes::Output)?;
        let answered = async {
            let mut answer = Vec::new();
            if let Some(mut stdout) = running.stdout.take() {
                use tokio::io::AsyncReadExt;
                let read = stdout.read_to_end(&mut answer).await;
                read.map_err(|error| Error::io(Stage::Connect, self.name(), "cannot read psql's answer", error))?;
            }
            Ok((String::from_utf8_lossy(&answer).into_owned(), running.wait().await?))
        };
        tokio::time::timeout(PATIENCE, answered).await.unwrap_or_else(|_| {
            let message = format!("the server did not answer within {} s", PATIENCE.as_secs());
            Err(Error::new(Stage::Connect, Kind::Unavailable, self.name(), message))
        })
    }
}

/// A command that connects to nothing: times in UTC, dates as its session has them, messages in the language that errors are read in.
pub fn plain_command(tool: &Tool) -> Command {
    let mut command = tool::command(&tool.path);
    // libpq sends the format of dates as a setting of its own, which beats that of `options`.
    command.env("PGTZ", "UTC").env("LC_ALL", "C").env_remove("PGDATESTYLE");
    command
}

/// Whether libpq takes the database from the environment.
fn from_environment() -> bool {
    ["PGDATABASE", "PGSERVICE"].iter().any(|name| std::env::var_os(name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_maintenance_database_is_replaced() {
        let cluster = Cluster { name: "main".into(), connection: "dbname=app".into(), password: None, bin_dir: None };
        let client = Client::new(&cluster).unwrap();
        let apart = |name: &str| client.apart_from(name).database().map(str::to_owned);
        assert_eq!((apart("app"), apart("postgres")), (Some(POSTGRES.to_owned()), Some(TEMPLATE.to_owned())));
        client.clone().maintenance.set(TEMPLATE).unwrap();
        assert_eq!((apart("app"), apart("postgres")), (Some(TEMPLATE.to_owned()), Some(TEMPLATE.to_owned())));
    }

    #[test]
    fn no_variable_beats_the_settings_of_a_session() {
        let cluster = Cluster { name: "main".into(), connection: String::new().into(), password: None, bin_dir: None };
        let tool = Tool { name: "psql", path: "psql".into(), version: Version::parse("15.1").unwrap() };
        let command = Client::new(&cluster).unwrap().command(&tool);
        assert!(command.as_std().get_envs().any(|variable| variable == ("PGDATESTYLE".as_ref(), None)));
    }

    #[test]
    fn no_command_hands_the_passphrase_of_the_identity_on() {
        let cluster = Cluster { name: "main".into(), connection: String::new().into(), password: None, bin_dir: None };
        let tool = Tool { name: "psql", path: "psql".into(), version: Version::parse("15.1").unwrap() };
        for command in [plain_command(&tool), Client::new(&cluster).unwrap().command(&tool)] {
            let passphrase = ("LONGSHORE_IDENTITY_PASSPHRASE".as_ref(), None);
            assert!(command.as_std().get_envs().any(|variable| variable == passphrase));
        }
    }
}
