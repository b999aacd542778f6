//! The list of plugins. No other file names a plugin, and no type of a plugin leaves this file.

mod facts;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use longshore_config::registry::Registry;
use longshore_core::Result;
use longshore_core::plugin::{Cluster, Plugin};
use longshore_core::stage::Encrypt;
use longshore_core::stream::ByteStream;
use longshore_core::unit::TimeSpan;
use longshore_engine::inspect::local_time::to_local_time;
use longshore_pg_client::client::Client;
use longshore_pg_client::conninfo::ConnInfo;
use longshore_pg_client::server::{Server, databases};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::args::plugin::Language;

pub(crate) use self::facts::{BaseRecord, Compression, Facts, Origin, Table};

/// Returns a registry of all plugins.
pub(crate) fn registry() -> Registry {
    let mut registry = Registry {
        default_verify: ["pg_archive", "pg_base", "digest"].map(str::to_owned).into(),
        default_scratch: "initdb".to_owned(),
        default_examine: "pg_dump".to_owned(),
        ..Registry::default()
    };
    registry.dump.add::<longshore_dump_exec::Exec>();
    registry.dump.add::<longshore_dump_pg_base::PgBase>();
    registry.dump.add::<longshore_dump_pg_dump::PgDump>();
    registry.dump.add::<longshore_dump_pg_dumpall::PgDumpAll>();
    registry.dump.add::<longshore_dump_pg_files::PgFiles>();
    registry.dump.add::<longshore_dump_pg_files::Snapshot>();
    registry.verify.add::<longshore_verify_exec::Digest>();
    registry.verify.add::<longshore_verify_exec::Exec>();
    registry.verify.add::<longshore_verify_pg_archive::PgArchive>();
    registry.verify.add::<longshore_verify_pg_base::PgBase>();
    registry.verify.add::<longshore_verify_pg_restore::PgRestore>();
    registry.encrypt.add::<longshore_encrypt_age::Age>();
    registry.encrypt.add::<longshore_encrypt_exec::Exec>();
    registry.decrypt.add::<longshore_encrypt_age::AgeDecrypt>();
    registry.decrypt_program.add::<longshore_encrypt_exec::ExecDecrypt>();
    registry.store.add::<longshore_ship_azure::Azure>();
    registry.store.add::<longshore_ship_exec::Exec>();
    registry.store.add::<longshore_ship_gcs::Gcs>();
    registry.store.add::<longshore_ship_local::Local>();
    registry.store.add::<longshore_ship_rsync::Rsync>();
    registry.store.add::<longshore_ship_s3::S3>();
    registry.store.add::<longshore_ship_sftp::Sftp>();
    registry.store.add::<longshore_ship_ssh::Ssh>();
    registry.restore.add_for_others::<longshore_restore_exec::Exec>();
    registry.restore.add::<longshore_restore_pg_base::PgBase>();
    registry.restore.add::<longshore_restore_pg_restore::PgRestore>();
    registry.scratch.add::<longshore_scratch_initdb::Initdb>();
    registry.scratch.add::<longshore_scratch_server::Server>();
    registry.examine.add::<longshore_examine_pg_dump::PgDump>();
    registry
}

/// Returns the contents of a dump as recorded by its verifier.
pub(crate) fn archive(details: &Map<String, Value>) -> Option<Facts> {
    recorded(details).map(without_plugin_types)
}

/// Returns the names of the tables in a record.
pub(crate) fn table_names(details: &Map<String, Value>) -> Option<BTreeSet<String>> {
    let facts = archive(details)?;
    let name = |table: &Table| match &table.schema {
        Some(schema) => format!("{schema}.{}", table.name),
        None => table.name.clone(),
    };
    Some(facts.tables.iter().map(name).collect())
}

/// Returns the confidential facts of a base backup, as recorded by its dump and its verifier.
pub(crate) fn base_record(details: &Map<String, Value>) -> BaseRecord {
    BaseRecord::of(details)
}

/// Returns the recorded table of contents in the format of `pg_restore --list`. Empty for a script.
pub(crate) fn listing(details: &Map<String, Value>) -> Vec<String> {
    let Some(facts) = recorded(details) else { return Vec::new() };
    let summer_time = facts.origin.header.as_ref().and_then(|header| header.summer_time);
    let created = to_local_time(facts.origin.created.as_deref().unwrap_or_default(), summer_time);
    let mut lines = facts.toc_head(&created);
    lines.extend(facts.toc);
    lines
}

fn recorded(details: &Map<String, Value>) -> Option<longshore_pg_archive::Facts> {
    let facts = details.get(longshore_verify_pg_archive::DETAILS)?;
    longshore_pg_archive::Facts::deserialize(facts).ok()
}

fn without_plugin_types(facts: longshore_pg_archive::Facts) -> Facts {
    use longshore_pg_archive::Compression as Recorded;
    let table = |table: longshore_pg_archive::Table| Table {
        database: table.database,
        schema: table.schema,
        name: table.name,
        rows: table.rows,
        bytes: table.bytes,
        rows_xxh3: table.rows_xxh3,
    };
    Facts {
        format: facts.format.to_string(),
        is_archive: facts.format.is_archive(),
        compression: match facts.compression {
            Recorded::None => Compression::None,
            Recorded::Gzip => Compression::Gzip,
            Recorded::Lz4 => Compression::Lz4,
            Recorded::Zstd => Compression::Zstd,
        },
        origin: Origin {
            version: facts.origin.version,
            created: facts.origin.created,
            database: facts.origin.database,
            server_version: facts.origin.server_version,
            tool_version: facts.origin.tool_version,
        },
        tables: facts.tables.into_iter().map(table).collect(),
        large_objects: facts.large_objects.count,
        large_object_bytes: facts.large_objects.bytes,
        toc_entries: facts.toc_entries,
        bytes: facts.bytes,
        extra_files: facts.extra_files.count,
        extra_file_names: facts.extra_files.names,
    }
}

/// Returns the contents of a dump.
#[cfg(test)]
pub(crate) fn facts_of(dump: &[u8]) -> Facts {
    without_plugin_types(longshore_pg_archive::read(dump, &mut |_| {}).unwrap())
}

/// Returns the database of a connection string, if it names one.
pub(crate) fn database_of(connection: &str) -> Result<Option<String>> {
    Ok(ConnInfo::parse(&connection.to_owned().into())?.get("dbname").map(str::to_owned))
}

/// Returns true if a connection string or the environment names a server, instead of the default of
/// libpq.
pub(crate) fn names_server(connection: &str) -> Result<bool> {
    let conn_info = ConnInfo::parse(&connection.to_owned().into())?;
    let by_environment = ["PGHOST", "PGHOSTADDR", "PGSERVICE"].iter().any(|name| std::env::var_os(name).is_some());
    Ok(by_environment || ["host", "hostaddr", "service", "port"].iter().any(|keyword| conn_info.get(keyword).is_some()))
}

/// Returns the connection with this database and without its password, and the password.
pub(crate) fn with_database(connection: &str, database: &str) -> Result<(SecretString, Option<SecretString>)> {
    let mut all = ConnInfo::parse(&connection.to_owned().into())?;
    all.set("dbname", database);
    Ok((all.to_string().into(), all.password().cloned()))
}

/// Returns a connection string without its password.
pub(crate) fn without_password(connection: &SecretString) -> Result<String> {
    ConnInfo::parse(connection).map(|connection| connection.to_string())
}

/// Returns a directory dump as one stream.
pub(crate) fn directory_dump(folder: &Path) -> ByteStream {
    longshore_pg_client::directory::read(folder)
}

/// Creates an identity. Returns the text of its file and its recipient.
pub(crate) fn new_identity() -> (SecretString, String) {
    let identity = longshore_encrypt_age::generate();
    (identity.file, identity.recipient)
}

/// Fails if backups cannot be encrypted for these recipients.
pub(crate) fn expect_recipients(recipients: &[String]) -> Result<()> {
    longshore_encrypt_age::Age::to(recipients).build(&()).map(drop)
}

/// Returns the encryption for these recipients, and those in these files.
pub(crate) fn encryption_for(recipients: &[String], files: &[PathBuf]) -> Result<Box<dyn Encrypt>> {
    longshore_encrypt_age::Age::to(recipients).and_files(files).build(&())
}

/// A program to test.
pub(crate) struct TestedProgram {
    /// The program's absolute path, and its arguments.
    pub(crate) argv: Vec<String>,
    /// Its settings.
    pub(crate) setting: Vec<(String, String)>,
    /// The files of its secrets.
    pub(crate) secret: Vec<(String, String)>,
    /// Variables that are added to its environment.
    pub(crate) env: Vec<(String, String)>,
    /// The time in which it sends its first message.
    pub(crate) hello_timeout: TimeSpan,
}

/// Tests a program of the protocol, with a sound plaintext for its verifier. Returns true if it has
/// all behaviours, and a line for each.
pub(crate) async fn test_program(tested: TestedProgram, sample: Option<Vec<u8>>) -> Result<(bool, Vec<String>)> {
    use longshore_exec::suite::{BehaviourResult, test};
    let program = longshore_exec::ExecProgram {
        argv: tested.argv,
        protocol: longshore_exec::Protocol::V1,
        settings: tested.setting.into_iter().map(|(name, value)| (name, value.into())).collect(),
        secrets: tested.secret.into_iter().map(|(name, path)| (name, path.into())).collect(),
        env: tested.env.into_iter().collect(),
        stall_timeout: TEST_STALL_TIMEOUT,
        hello_timeout: Some(tested.hello_timeout.duration()),
        ..longshore_exec::ExecProgram::default()
    };
    program.validate()?;
    let unique = format!("longshore-plugin-test-{:016x}", fastrand::u64(..));
    let results = test(&program, sample, &unique).await?;
    let passed = results.have_passed();
    let mut lines = vec![format!("program: {}", results.program)];
    lines.extend(results.behaviours.into_iter().map(|behaviour| match behaviour.result {
        BehaviourResult::Passed => format!("ok       {}", behaviour.name),
        BehaviourResult::Skipped(reason) => format!("skipped  {}: {reason}", behaviour.name),
        BehaviourResult::Failed(reason) => format!("FAILED   {}: {reason}", behaviour.name),
    }));
    Ok((passed, lines))
}

/// The time without progress after which a tested program is ended.
const TEST_STALL_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

/// Returns the text of a program to begin with.
pub(crate) fn skeleton(language: Language, name: &str) -> String {
    use longshore_exec::skeleton::{Language as Text, text};
    let language = match language {
        Language::Sh => Text::Shell,
        Language::Python => Text::Python,
    };
    text(language, name)
}

/// A running cluster.
pub(crate) struct ServerInfo {
    /// The connection string.
    pub(crate) connection: String,
    /// The name and version of the server.
    pub(crate) server: String,
    /// The databases, without templates.
    pub(crate) databases: Vec<String>,
    /// The start time and port, which identify the server across sockets.
    pub(crate) start: String,
}

/// Returns the connection of the `PG*` environment variables, or an empty string without any.
pub(crate) fn connection_of_environment() -> String {
    longshore_pg_client::server::of_environment()
}

/// Returns the sockets of local servers, each with connections to try, the likeliest first.
pub(crate) fn local_sockets() -> Vec<(String, Vec<String>)> {
    longshore_pg_client::server::local_sockets()
}

/// Connects to a server and returns its version and databases.
pub(crate) async fn query_server(connection: &str) -> Result<ServerInfo> {
    let cluster =
        Cluster { name: "main".to_owned(), connection: connection.to_owned().into(), password: None, bin_dir: None };
    let client = Client::new(&cluster)?;
    let server = Server::query(&client).await?;
    let databases = databases(&client).await?.into_iter().filter(|database| !database.template);
    Ok(ServerInfo {
        connection: connection.to_owned(),
        server: format!("PostgreSQL {}", server.version()?),
        databases: databases.map(|database| database.name).collect(),
        start: client
            .query("select to_json(pg_postmaster_start_time()::text || ' ' || current_setting('port'))")
            .await?,
    })
}

#[cfg(test)]
mod tests {
    use longshore_config::Config;
    use longshore_core::manifest::Format;
    use longshore_pg_archive::{HeaderDetails, LargeObjects};

    use super::*;

    const SCRIPT: &[u8] = b"--\n-- PostgreSQL database dump\n--\n\nCOPY public.t (a) FROM stdin;\n1\n\\.\n\n\n\
        --\n-- PostgreSQL database dump complete\n--\n\n";

    fn details(facts: &longshore_pg_archive::Facts) -> Map<String, Value> {
        let facts = serde_json::to_value(facts).unwrap();
        Map::from_iter([(longshore_verify_pg_archive::DETAILS.to_owned(), facts)])
    }

    #[test]
    fn every_format_has_a_restore_plugin() {
        let registry = registry();
        for format in [Format::Custom, Format::Plain, Format::Tar, Format::Directory] {
            assert_eq!(registry.restore.name_for(&format).unwrap(), "pg_restore", "{format:?}");
        }
        assert_eq!(registry.restore.name_for(&Format::Base).unwrap(), "pg_base");
    }

    #[test]
    fn recorded_facts_keep_their_values() {
        let script = longshore_pg_archive::read(SCRIPT, &mut |_| {}).unwrap();
        let facts = archive(&details(&script)).unwrap();
        assert_eq!((facts.format.as_str(), facts.is_archive), ("script of pg_dump", false));
        assert_eq!((facts.bytes, facts.toc_entries, facts.extra_files), (SCRIPT.len() as u64, 0, 0));
        let table = Table {
            database: None,
            schema: Some("public".to_owned()),
            name: "t".to_owned(),
            rows: Some(1),
            bytes: 2,
            rows_xxh3: script.tables[0].rows_xxh3.clone(),
        };
        assert_eq!(facts.tables, [table]);
        assert_eq!(listing(&details(&script)), [] as [&str; 0]);
        assert!(archive(&Map::new()).is_none());
    }

    #[test]
    fn recorded_archive_is_listed_as_by_pg_restore() {
        let script = longshore_pg_archive::read(SCRIPT, &mut |_| {}).unwrap();
        let origin = longshore_pg_archive::Origin {
            database: Some("shop".to_owned()),
            header: Some(HeaderDetails { integer_bytes: 4, offset_bytes: 8, level: None, summer_time: None }),
            ..Default::default()
        };
        let custom = longshore_pg_archive::Facts {
            format: longshore_pg_archive::Format::Custom,
            compression: longshore_pg_archive::Compression::Lz4,
            origin,
            large_objects: LargeObjects { count: 2, bytes: 30, xxh3: String::new() },
            toc: vec!["215; 1259 16390 TABLE public t app".to_owned()],
            toc_entries: 5,
            ..script
        };
        let lines = listing(&details(&custom));
        assert_eq!((lines[0].as_str(), lines[2].as_str()), (";", ";     dbname: shop"));
        assert_eq!(lines.last().unwrap(), "215; 1259 16390 TABLE public t app");
        let facts = archive(&details(&custom)).unwrap();
        assert_eq!((facts.format.as_str(), facts.is_archive), ("custom format", true));
        assert_eq!((facts.compression, facts.compression.to_string()), (Compression::Lz4, "lz4".to_owned()));
        assert_eq!((facts.large_objects, facts.large_object_bytes, facts.toc_entries), (2, 30, 5));
        assert_eq!(facts.origin.database.as_deref(), Some("shop"));
    }

    #[test]
    fn loads_example_configuration() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config.example.toml");
        let config = Config::load(&path, &registry()).unwrap();
        assert_eq!(config.jobs.len(), 4);
    }

    #[test]
    fn loads_configuration_of_readme() {
        let readme = include_str!("../../../README.md");
        let (_, config) = readme.split_once("```toml\n").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, config.split_once("```").unwrap().0).unwrap();
        assert_eq!(Config::load(&path, &registry()).unwrap().destinations.len(), 2);
    }
}
