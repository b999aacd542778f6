//! Dumps cluster-wide objects with `pg_dumpall`, as `type = "pg_dumpall"`: above all the globals,
//! which every database needs to be restored.

use std::collections::BTreeSet;
use std::time::SystemTime;

use async_trait::async_trait;
use longshore_core::check::{Check, Finding};
use longshore_core::compress::Compression;
use longshore_core::discovery::NotCaptured;
use longshore_core::manifest::Format;
use longshore_core::plugin::{CompressBy, JobContext, Plugin};
use longshore_core::stage::{DiscoveredSubject, Discovery, Dump, DumpNotes, Dumped, RunNeeds};
use longshore_core::standby::Standby;
use longshore_core::stream::OnEnd;
use longshore_core::subject::Subject;
use longshore_core::{Result, Stage};
use longshore_pg_client::argument::{self, CONNECTION, Reserved};
use longshore_pg_client::child::{Exit, Pipes, Process};
use longshore_pg_client::client::Client;
use longshore_pg_client::limits::Limits;
use longshore_pg_client::pooler::{self, DirectSession};
use longshore_pg_client::server::{Database, Server, databases};
use longshore_pg_client::tool::Tool;
use serde::Deserialize;
use tokio::sync::OnceCell;

/// Settings of `{ type = "pg_dumpall", … }`: the part of the cluster to dump.
#[derive(Debug, Clone, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PgDumpAll {
    /// The part of the cluster to dump.
    pub what: Scope,
    /// The time to wait for a table's lock, as pg_dumpall's `--lock-wait-timeout`, if tables are
    /// dumped.
    pub lock_wait_timeout: Option<String>,
    /// Omits role passwords, even if the role may read them.
    pub no_role_passwords: bool,
    /// Additional options of pg_dumpall, one argument each.
    pub extra_args: Vec<String>,
}

/// A part of a cluster to dump.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Roles and tablespaces.
    #[default]
    Globals,
    /// Roles.
    Roles,
    /// Tablespaces.
    Tablespaces,
    /// All definitions, without data.
    Schema,
    /// Everything, as one script.
    All,
}

/// Options that the pipeline sets itself, or that would make a backup silently incomplete or
/// unsafe.
const RESERVED: [Reserved; 10] = [
    (Some('l'), "database"),
    (Some('g'), "globals-only"),
    (Some('r'), "roles-only"),
    (Some('t'), "tablespaces-only"),
    (Some('s'), "schema-only"),
    (None, "lock-wait-timeout"),
    (None, "no-role-passwords"),
    // A restore reads globals in UTF-8.
    (Some('E'), "encoding"),
    // A script with these options drops the roles and databases of the cluster that it is restored
    // to.
    (Some('c'), "clean"),
    (None, "if-exists"),
];

/// The name, in reports and manifests, of the passwords that a role without rights on `pg_authid`
/// cannot read.
const ROLE_PASSWORDS: &str = "role passwords";

const SETTINGS_OF_ALL_ROLES: &str = "select coalesce(json_agg(split_part(setting, '=', 1) order by setting), '[]')
    from pg_catalog.pg_db_role_setting, unnest(setconfig) setting where setrole = 0 and setdatabase = 0";

fn cannot_read_passwords(server: &Server) -> String {
    format!("role {} may not read pg_authid: {ROLE_PASSWORDS} cannot be captured", server.role)
}

impl Scope {
    fn subject(self) -> Subject {
        match self {
            Self::Globals => Subject::Globals,
            Self::Roles => Subject::Roles,
            Self::Tablespaces => Subject::Tablespaces,
            Self::Schema => Subject::Schema,
            Self::All => Subject::All,
        }
    }

    /// Returns the subject as discovered. A script of pg_dumpall needs no other backup.
    fn discovered(self, estimated_bytes: Option<u64>) -> DiscoveredSubject {
        let (run_needs, needs) = (RunNeeds::Nothing, Vec::new());
        DiscoveredSubject { subject: self.subject(), estimated_bytes, run_needs, needs }
    }

    fn argument(self) -> Option<&'static str> {
        match self {
            Self::Globals => Some("--globals-only"),
            Self::Roles => Some("--roles-only"),
            Self::Tablespaces => Some("--tablespaces-only"),
            Self::Schema => Some("--schema-only"),
            Self::All => None,
        }
    }

    fn has_roles(self) -> bool {
        self != Self::Tablespaces
    }
}

/// A `pg_dumpall` stage: its settings, and facts about the server, once queried.
struct Dumper {
    settings: PgDumpAll,
    site: JobContext,
    client: Client,
    server: OnceCell<(Server, Tool)>,
}

impl Plugin<dyn Dump> for PgDumpAll {
    const TYPE: &'static str = "pg_dumpall";

    fn build(self, site: &JobContext) -> Result<Box<dyn Dump>> {
        self.lock_wait_timeout.iter().try_for_each(|text| argument::check_timeout("lock_wait_timeout", text))?;
        argument::check("extra_args", &self.extra_args, &[&CONNECTION[..], &RESERVED[..]].concat())?;
        let client = Client::new(&site.cluster)?;
        Ok(Box::new(Dumper { settings: self, site: site.clone(), client, server: OnceCell::new() }))
    }
}

impl Dumper {
    async fn server_and_tool(&self) -> Result<&(Server, Tool)> {
        let query = async || {
            pooler::refuse(&self.client).await?;
            let server = Server::query(&self.client).await?;
            let pg_dumpall = self.client.tool("pg_dumpall", &server.version()?).await?;
            Ok((server, pg_dumpall))
        };
        self.server.get_or_try_init(query).await
    }

    /// Returns true if the dump omits role passwords.
    fn without_passwords(&self, server: &Server) -> bool {
        self.settings.what.has_roles() && (self.settings.no_role_passwords || !server.reads_passwords)
    }

    fn dumps_databases(&self) -> bool {
        matches!(self.settings.what, Scope::Schema | Scope::All)
    }

    /// Returns the reason why pg_dumpall silently skips a database, if it does.
    fn skipped(&self, database: &Database) -> Option<NotCaptured> {
        let reason = match database {
            Database { name, .. } if name == "template0" => return None,
            Database { invalid: true, .. } => "a DROP DATABASE of it was interrupted",
            Database { allows_connections: false, .. } => "allows no connections",
            _ => return None,
        };
        let excluded = format!("--exclude-database={}", database.name);
        let remedy = format!("exclude it: extra_args = [{excluded:?}]");
        (!self.settings.extra_args.contains(&excluded)).then(|| NotCaptured::database(&database.name, reason, remedy))
    }

    /// Returns the names of the settings of `ALTER ROLE ALL SET`, which no PostgreSQL program
    /// dumps. Their values are confidential and not read.
    async fn settings_of_all_roles(&self) -> Result<Option<String>> {
        if !self.settings.what.has_roles() {
            return Ok(None);
        }
        let names: Vec<String> = self.client.query(SETTINGS_OF_ALL_ROLES).await?;
        Ok((!names.is_empty()).then(|| format!("settings of ALTER ROLE ALL: {}", names.join(", "))))
    }

    fn arguments(&self, server: &Server) -> Vec<String> {
        let mut arguments: Vec<String> = self.settings.what.argument().map(str::to_owned).into_iter().collect();
        if self.without_passwords(server) {
            arguments.push("--no-role-passwords".to_owned());
        }
        if self.dumps_databases() {
            let timeout = self.settings.lock_wait_timeout.as_deref().unwrap_or("60s");
            arguments.push(format!("--lock-wait-timeout={timeout}"));
        } else {
            // Without this, role names would be in the encoding of the database connected to.
            arguments.push("--encoding=UTF8".to_owned());
        }
        arguments.extend(self.settings.extra_args.iter().cloned());
        arguments
    }
}

#[async_trait]
impl Dump for Dumper {
    async fn discover(&self) -> Result<Discovery> {
        let (server, _) = self.server_and_tool().await?;
        let mut warnings = Vec::new();
        if self.without_passwords(server) && !self.settings.no_role_passwords {
            warnings.push(cannot_read_passwords(server));
        }
        let (mut estimated_bytes, mut not_captured) = (None, Vec::new());
        if self.dumps_databases() {
            let databases = databases(&self.client).await?;
            not_captured.extend(databases.iter().filter_map(|database| self.skipped(database)));
            if self.settings.what == Scope::All {
                estimated_bytes = Some(databases.iter().filter_map(|database| database.bytes).sum());
            }
        }
        // pg_dumpall holds one connection and runs a pg_dump for one database after the other.
        let each = if self.dumps_databases() { 2 } else { 1 };
        let limits = Limits::query(&self.client).await?;
        Ok(Discovery {
            server: server.record(&self.client).await?,
            subjects: vec![self.settings.what.discovered(estimated_bytes)],
            missing: Vec::new(),
            not_captured,
            connections: Some(limits.connections(each)),
            is_standby: server.in_recovery,
            warnings,
        })
    }

    async fn dump(&self, subject: &Subject) -> Result<Dumped> {
        let (server, pg_dumpall) = self.server_and_tool().await?;
        let direct = DirectSession::prove(&self.client).await?;
        let mut not_captured =
            if self.without_passwords(server) { vec![ROLE_PASSWORDS.to_owned()] } else { Vec::new() };
        not_captured.extend(self.settings_of_all_roles().await?);
        let mut command = self.client.command(pg_dumpall);
        command.args(self.arguments(server));
        if matches!(self.settings.what, Scope::Schema | Scope::All) {
            // Each database is dumped in the encoding of its session. The encoding set for a role
            // or a database may lack characters of the data; databases with different encodings
            // have no common one.
            let all = databases(&self.client).await?;
            let encodings: BTreeSet<_> = all.iter().map(|database| database.facts.encoding.as_str()).collect();
            match encodings.into_iter().collect::<Vec<_>>()[..] {
                [encoding] => command.env("PGCLIENTENCODING", encoding),
                _ => command.env_remove("PGCLIENTENCODING"),
            };
        }
        let process = Process::start(command, "pg_dumpall", Pipes::Output)?;

        let notes = OnEnd::new();
        let remarks_setter = notes.clone();
        let client = self.client.clone();
        let label = subject.to_string();
        let stream = process.into_stream(
            async move |exit: Exit| client.program_error(Stage::Dump, &label, &exit).await,
            move |stderr| {
                remarks_setter.set(DumpNotes { warnings: stderr.warnings, not_captured, ..DumpNotes::default() })
            },
        );
        Ok(Dumped {
            stream: direct.guard(stream),
            format: Format::Plain,
            estimated_bytes: None,
            compression: match self.site.compress_by {
                CompressBy::Pipeline(compression) => compression,
                // pg_dumpall cannot compress: it writes plain SQL.
                CompressBy::Tool { .. } => Compression::None,
            },
            tool: pg_dumpall.into(),
            database: None,
            base_manifest: None,
            snapshot: None,
            notes,
        })
    }

    fn standby(&self) -> Option<&dyn Standby> {
        Some(&self.client)
    }
}

#[async_trait]
impl Check for Dumper {
    async fn check(&self) -> Vec<Finding> {
        let subject = format!("cluster {}", self.client.name());
        let (server, pg_dumpall) = match self.server_and_tool().await {
            Ok(server_and_tool) => server_and_tool,
            Err(error) => return vec![Finding::failed(subject, &error)],
        };
        let mut findings = server.findings(&self.client, SystemTime::now());
        findings.push(Finding::good("pg_dumpall", pg_dumpall.to_string()));
        if self.without_passwords(server) && !self.settings.no_role_passwords {
            findings.push(Finding::warning(
                &subject,
                cannot_read_passwords(server),
                format!("grant pg_read_all_data to \"{}\", or set new passwords after a restore", server.role),
            ));
        }
        match self.settings_of_all_roles().await {
            Ok(Some(what)) => findings.push(Finding::warning(
                "pg_dumpall",
                format!("not captured: {what}"),
                "keep the statements elsewhere, and run them after a restore",
            )),
            Ok(None) => {}
            Err(error) => findings.push(Finding::failed(subject, &error)),
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::subject::SubjectKind;

    use super::*;

    #[test]
    fn script_of_a_cluster_needs_no_other_backup() {
        for what in [Scope::Globals, Scope::Roles, Scope::Tablespaces, Scope::Schema, Scope::All] {
            let found = what.discovered(Some(7));
            assert_eq!((found.subject.kind(), found.estimated_bytes), (SubjectKind::ClusterSql, Some(7)));
            assert_eq!((found.run_needs, found.needs), (RunNeeds::Nothing, Vec::new()));
        }
    }
}
