//! The stage that runs pg_basebackup, for connections that only libpq can make. The program's
//! standard output is already one tar with the manifest last, but only for a cluster without
//! additional tablespaces. No slot reserves the WAL: a backup whose WAL the server removes
//! meanwhile fails.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use async_trait::async_trait;
use chrono::Utc;
use longshore_core::check::{Check, Finding};
use longshore_core::manifest::Format;
use longshore_core::plugin::JobContext;
use longshore_core::stage::{Discovery, Dump, DumpNotes, Dumped};
use longshore_core::stream::OnEnd;
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::child::{Exit, Pipes, Process, Stderr};
use longshore_pg_client::client::Client;
use longshore_pg_client::cluster_files;
use longshore_pg_client::pooler;
use longshore_pg_client::server::Server;
use longshore_pg_client::tool::Tool;
use tokio::sync::OnceCell;

use crate::catalog::ProgramFacts;
use crate::own_client::{compression, discovered, expect_base};
use crate::settings::PgBase;

/// The program.
const PROGRAM: &str = "pg_basebackup";

/// The oldest major version whose backups are supported.
const OLDEST_MAJOR: u32 = 15;

/// A stage: its settings, and facts about the server, once queried.
pub(crate) struct Program {
    settings: PgBase,
    site: JobContext,
    client: Client,
    server: OnceCell<(Server, Tool)>,
}

impl Program {
    pub(crate) fn new(settings: PgBase, site: JobContext, client: Client) -> Self {
        Self { settings, site, client, server: OnceCell::new() }
    }

    async fn server_and_tool(&self) -> Result<&(Server, Tool)> {
        let query = async || {
            pooler::refuse(&self.client).await?;
            let server = Server::query(&self.client).await?;
            let version = server.version()?;
            if version.major < OLDEST_MAJOR {
                let message =
                    format!("base backups of PostgreSQL {version} are not supported, only of {OLDEST_MAJOR} and newer");
                return Err(Error::new(Stage::Connect, Kind::Refused, self.client.name(), message)
                    .hint("dump the databases with type = \"pg_dump\", or upgrade the server"));
            }
            let tool = self.client.tool(PROGRAM, &version).await?;
            Ok((server, tool))
        };
        self.server.get_or_try_init(query).await
    }

    /// Fails for a cluster with tablespaces, which pg_basebackup cannot stream.
    fn expect_one_tablespace(&self, facts: &ProgramFacts) -> Result<()> {
        if facts.tablespaces == 0 {
            return Ok(());
        }
        let message =
            format!("pg_basebackup cannot stream a cluster with {} additional tablespaces", facts.tablespaces);
        Err(Error::new(Stage::Dump, Kind::Refused, self.client.name(), message)
            .hint("set client = \"longshore\", which merges all tablespaces into one stream"))
    }
}

#[async_trait]
impl Dump for Program {
    async fn discover(&self) -> Result<Discovery> {
        let (server, tool) = self.server_and_tool().await?;
        self.expect_one_tablespace(&ProgramFacts::query(&self.client).await?)?;
        tracing::debug!(target: "longshore::base", tool = %tool, "found");
        Ok(Discovery {
            server: server.record(&self.client).await?,
            subjects: vec![discovered(cluster_files::size(&self.client).await)],
            missing: Vec::new(),
            not_captured: Vec::new(),
            // Replication connections do not count towards max_connections.
            connections: None,
            is_standby: server.in_recovery,
            warnings: Vec::new(),
        })
    }

    async fn dump(&self, subject: &Subject) -> Result<Dumped> {
        expect_base(subject)?;
        let (_, tool) = self.server_and_tool().await?;
        self.expect_one_tablespace(&ProgramFacts::query(&self.client).await?)?;
        let mut command = self.client.command(tool);
        command.args(self.settings.arguments(Utc::now())?);
        let process = Process::start(command, PROGRAM, Pipes::Output)?;
        let notes = OnEnd::new();
        let (setter, client, label) = (notes.clone(), self.client.clone(), subject.to_string());
        let failure = async move |exit: Exit| client.program_error(Stage::Dump, &label, &exit).await;
        let success = move |stderr: Stderr| {
            let details = cluster_files::details([].into_iter(), &BTreeMap::new());
            setter.set(DumpNotes { warnings: stderr.warnings, details, ..DumpNotes::default() });
        };
        Ok(Dumped {
            stream: process.into_stream(failure, success),
            format: Format::Base,
            estimated_bytes: None,
            compression: compression(&self.site),
            tool: tool.into(),
            database: None,
            base_manifest: None,
            snapshot: None,
            notes,
        })
    }

    async fn data_directory(&self) -> Option<PathBuf> {
        cluster_files::data_directory(&self.client).await
    }
}

#[async_trait]
impl Check for Program {
    async fn check(&self) -> Vec<Finding> {
        let subject = format!("cluster {}", self.client.name());
        let (server, tool) = match self.server_and_tool().await {
            Ok(server_and_tool) => server_and_tool,
            Err(error) => return vec![Finding::failed(subject, &error)],
        };
        let mut findings = server.findings(&self.client, SystemTime::now());
        findings.push(Finding::good(PROGRAM, tool.to_string()));
        let facts = match ProgramFacts::query(&self.client).await {
            Ok(facts) => facts,
            Err(error) => {
                findings.push(Finding::failed(subject, &error));
                return findings;
            }
        };
        if let Err(error) = self.expect_one_tablespace(&facts) {
            findings.push(Finding::failed(&subject, &error));
        }
        if !facts.may_replicate {
            let message = format!("role {} lacks the attribute REPLICATION", server.role);
            let error = Error::new(Stage::Connect, Kind::Denied, self.client.name(), message)
                .hint("give the role the attribute REPLICATION: alter role … replication");
            findings.push(Finding::failed(&subject, &error));
        }
        let message = format!(
            "no replication slot reserves the WAL of a running backup; the server keeps wal_keep_size = {} of it",
            facts.wal_keep_size
        );
        let hint = "set client = \"longshore\", or raise wal_keep_size on the server";
        findings.push(Finding::warning(&subject, message, hint));
        findings
    }
}
