//! Dumps databases with `pg_dump`, as `type = "pg_dump"`.
//!
//! | file | contents |
//! | --- | --- |
//! | `settings.rs` | the settings and their validation |
//! | `select.rs` | the databases that the patterns match |
//! | `arguments.rs` | pg_dump's command line |
//! | `directory.rs` | formats that need disk space: directory (packed as one tar) and tar |
//! | `database.rs` | queries in databases: templates, extensions, unlogged tables |
//! | `check.rs` | the check before a run |
//! | `source.rs` | facts recorded about a database besides its bytes |

mod arguments;
mod check;
mod database;
mod directory;
mod select;
mod settings;
mod source;

use std::collections::BTreeMap;

use async_trait::async_trait;
use longshore_core::compress::Compression;
use longshore_core::discovery::Requirements;
use longshore_core::manifest::DatabaseFacts;
use longshore_core::plugin::{CompressBy, JobContext, Plugin};
use longshore_core::source::SourceFacts;
use longshore_core::stage::{DiscoveredSubject, Discovery, Dump, DumpNotes, Dumped, RunNeeds};
use longshore_core::standby::Standby;
use longshore_core::stream::OnEnd;
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::child::{Exit, Pipes, Process, Stderr};
use longshore_pg_client::client::Client;
use longshore_pg_client::limits::Limits;
use longshore_pg_client::money;
use longshore_pg_client::pooler::{self, DirectSession};
use longshore_pg_client::server::{Database, Server, databases};
use longshore_pg_client::tool::Tool;
use tokio::sync::OnceCell;

use crate::select::{Selected, Selection, TemplateContent};
pub use crate::settings::{DumpFormat, PgDump};

/// A `pg_dump` stage: its settings, and facts about the server, once queried.
struct Dumper {
    settings: PgDump,
    selection: Selection,
    site: JobContext,
    client: Client,
    server: OnceCell<ServerFacts>,
}

/// Facts about the server, queried once; the databases' facts do not change during a run.
struct ServerFacts {
    server: Server,
    databases: Vec<Database>,
    /// Results of inspecting templates, by name.
    template_contents: BTreeMap<String, TemplateContent>,
    limits: Limits,
    pg_dump: Tool,
}

impl Plugin<dyn Dump> for PgDump {
    const TYPE: &'static str = "pg_dump";

    fn build(self, site: &JobContext) -> Result<Box<dyn Dump>> {
        self.check(site)?;
        Ok(Box::new(Dumper {
            selection: Selection::new(&self.databases, &self.exclude)?,
            client: Client::new(&site.cluster)?,
            site: site.clone(),
            settings: self,
            server: OnceCell::new(),
        }))
    }
}

impl Dumper {
    async fn server_facts(&self) -> Result<&ServerFacts> {
        let query = async || {
            pooler::refuse(&self.client).await?;
            let server = Server::query(&self.client).await?;
            let databases = databases(&self.client).await?;
            let pg_dump = self.client.tool("pg_dump", &server.version()?).await?;
            let mut template_contents = BTreeMap::new();
            for template in self.selection.templates(&databases, &server) {
                template_contents
                    .insert(template.name.clone(), database::template_content(&self.client, &template.name).await);
            }
            let limits = Limits::query(&self.client).await?;
            Ok(ServerFacts { server, databases, template_contents, limits, pg_dump })
        };
        self.server.get_or_try_init(query).await
    }

    /// Returns the databases that the settings select.
    fn selected<'a>(&self, facts: &'a ServerFacts) -> Selected<'a> {
        self.selection.choose(&facts.databases, &facts.server, |name| facts.template_contents.get(name).cloned())
    }

    /// Returns the number of connections per dump: one, and with several jobs one more per job.
    fn connections_per_dump(&self) -> u32 {
        if self.settings.jobs > 1 { self.settings.jobs.saturating_add(1) } else { 1 }
    }
}

/// Returns a database as discovered. Its dump contains no roles and tablespaces, so a full restore
/// needs the globals.
fn discovered(name: &str, estimated_bytes: Option<u64>) -> DiscoveredSubject {
    let subject = Subject::database(name);
    DiscoveredSubject { subject, estimated_bytes, run_needs: RunNeeds::Globals, needs: Vec::new() }
}

/// Returns the data directory of a server on this host. Fails for a role that may not read the
/// setting.
const DATA_DIRECTORY: &str = "select coalesce(to_json(case when inet_server_addr() is null
    or inet_server_addr() <<= '127.0.0.0/8' or inet_server_addr() = '::1'
    then current_setting('data_directory') end), 'null')";

#[async_trait]
impl Dump for Dumper {
    fn dumps_databases(&self) -> bool {
        true
    }

    async fn data_directory(&self) -> Option<std::path::PathBuf> {
        self.client.query(DATA_DIRECTORY).await.ok().flatten()
    }

    async fn discover(&self) -> Result<Discovery> {
        let facts = self.server_facts().await?;
        let ServerFacts { server, limits, pg_dump, .. } = facts;
        arguments::compression_argument(&self.site.compress_by, self.settings.format, &pg_dump.version)?;
        let Selected { databases, missing, not_captured, mut warnings } = self.selected(facts);
        warnings.extend(pg_dump.warning(&server.version()?));
        let subjects = databases.iter().map(|database| discovered(&database.name, database.bytes));
        Ok(Discovery {
            server: server.record(&self.client).await?,
            subjects: subjects.collect(),
            missing,
            not_captured,
            connections: Some(limits.connections(self.connections_per_dump())),
            is_standby: server.in_recovery,
            warnings,
        })
    }

    async fn dump(&self, subject: &Subject) -> Result<Dumped> {
        let ServerFacts { server, databases, pg_dump, .. } = self.server_facts().await?;
        let label = subject.to_string();
        let database = databases.iter().find(|database| Subject::database(&database.name) == *subject);
        let Some(database) = database else {
            return Err(Error::new(Stage::Dump, Kind::NotFound, label, "the server has no such database"));
        };
        let client = self.client.to_database(&database.name);
        let direct = DirectSession::prove(&client).await.map_err(|error| error.about(&label))?;
        let monetary = money::locale(&client).await.map_err(|error| error.about(&label))?;
        let mut command = client.command(pg_dump);
        // The client encoding set for a role or a database may lack characters that the data
        // contains.
        command.arg(format!("--encoding={}", database.facts.encoding));
        command.args(arguments::all(&self.settings, &self.site.compress_by, pg_dump)?);

        let notes = OnEnd::new();
        let remarks_setter = notes.clone();
        let mut not_captured = self.settings.excluded_parts();
        if server.in_recovery {
            not_captured.extend(database::unlogged(&client).await?.not_captured());
        }
        if self.settings.format == DumpFormat::Plain {
            not_captured.extend(database::properties(&client).await?);
        }
        let details = source::query(&client).await.map(SourceFacts::into_details).unwrap_or_default();
        let success = move |stderr: Stderr| {
            remarks_setter.set(DumpNotes { warnings: stderr.warnings, not_captured, details, ..DumpNotes::default() })
        };
        let failure = async move |exit: Exit| client.program_error(Stage::Dump, &label, &exit).await;
        let stream = match self.settings.format {
            DumpFormat::Directory => directory::dump(command, self.site.scratch_dir.as_deref(), failure, success)?,
            DumpFormat::Tar => {
                directory::expect_space_for_tar(&self.client.to_database(&database.name)).await?;
                Process::start(command, "pg_dump", Pipes::Output)?.into_stream(failure, success)
            }
            DumpFormat::Custom | DumpFormat::Plain => {
                Process::start(command, "pg_dump", Pipes::Output)?.into_stream(failure, success)
            }
        };
        Ok(Dumped {
            stream: direct.guard(stream),
            format: self.settings.format.into(),
            estimated_bytes: None,
            compression: match self.site.compress_by {
                CompressBy::Pipeline(compression) => compression,
                CompressBy::Tool { .. } => Compression::None,
            },
            tool: pg_dump.into(),
            database: Some(DatabaseFacts { monetary, ..database.facts.clone() }),
            base_manifest: None,
            snapshot: None,
            notes,
        })
    }

    async fn requirements(&self) -> Result<Requirements> {
        let facts = self.server_facts().await?;
        let names = self.selected(facts).databases.into_iter().map(|database| database.name.clone()).collect();
        database::requirements(&self.client, &facts.server, names, facts.limits.connections(1).copies()).await
    }

    fn standby(&self) -> Option<&dyn Standby> {
        Some(&self.client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn database_needs_the_globals_of_its_run() {
        let database = discovered("app", Some(7));
        assert_eq!((database.subject, database.estimated_bytes), (Subject::database("app"), Some(7)));
        assert_eq!((database.run_needs, database.needs), (RunNeeds::Globals, Vec::new()));
    }
}
