//! The list of plugins. No other file names a plugin.

use std::path::Path;

use longshore_config::registry::Registry;
use longshore_core::Result;
use longshore_core::plugin::{Cluster, Plugin};
use longshore_core::stream::ByteStream;
pub(crate) use longshore_pg_archive::{Compression, Facts, Table};
#[cfg(test)]
pub(crate) use longshore_pg_archive::{Format, read};
use longshore_pg_client::client::Client;
use longshore_pg_client::conninfo::ConnInfo;
use longshore_pg_client::server::{Server, databases};
use secrecy::SecretString;
use serde::Deserialize;

/// Returns a registry of all plugins.
pub(crate) fn registry() -> Registry {
    let mut registry = Registry {
        default_verify: "pg_archive",
        default_restore: "pg_restore",
        default_scratch: "initdb",
        default_examine: "pg_dump",
        ..Registry::default()
    };
    registry.dump.add::<longshore_dump_pg_dump::PgDump>();
    registry.dump.add::<longshore_dump_pg_dumpall::PgDumpAll>();
    registry.verify.add::<longshore_verify_pg_archive::PgArchive>();
    registry.verify.add::<longshore_verify_pg_restore::PgRestore>();
    registry.encrypt.add::<longshore_encrypt_age::Age>();
    registry.decrypt.add::<longshore_encrypt_age::AgeDecrypt>();
    registry.store.add::<longshore_ship_azure::Azure>();
    registry.store.add::<longshore_ship_gcs::Gcs>();
    registry.store.add::<longshore_ship_local::Local>();
    registry.store.add::<longshore_ship_rsync::Rsync>();
    registry.store.add::<longshore_ship_s3::S3>();
    registry.store.add::<longshore_ship_sftp::Sftp>();
    registry.store.add::<longshore_ship_ssh::Ssh>();
    registry.restore.add::<longshore_restore_pg_restore::PgRestore>();
    registry.scratch.add::<longshore_scratch_initdb::Initdb>();
    registry.scratch.add::<longshore_scratch_server::Server>();
    registry.examine.add::<longshore_examine_pg_dump::PgDump>();
    registry
}

/// Returns the contents of a dump as recorded by its verifier.
pub(crate) fn archive(details: &serde_json::Map<String, serde_json::Value>) -> Option<Facts> {
    let facts = details.get(longshore_verify_pg_archive::DETAILS)?;
    Facts::deserialize(facts).ok()
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

    use super::*;

    #[test]
    fn loads_example_configuration() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config.example.toml");
        let config = Config::load(&path, &registry()).unwrap();
        assert_eq!(config.jobs.len(), 2);
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
