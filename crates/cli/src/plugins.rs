//! The only place that names a plugin.

use std::path::Path;

use longshore_core::Result;
use longshore_core::plugin::{Cluster, Plugin};
use longshore_core::stream::ByteStream;
pub(crate) use longshore_pg_archive::{Compression, Facts, Table};
#[cfg(test)]
pub(crate) use longshore_pg_archive::{Kind, read};
use longshore_pg_client::client::Client;
use longshore_pg_client::conninfo::ConnInfo;
use longshore_pg_client::server::{Server, databases};
use longshore_service::registry::Registry;
use secrecy::SecretString;
use serde::Deserialize;

/// All plugins.
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
    registry.decrypt.add::<longshore_encrypt_age::Opener>();
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

/// What a dump holds, as those who judge it record it.
pub(crate) fn archive(details: &serde_json::Map<String, serde_json::Value>) -> Option<Facts> {
    let facts = details.get(longshore_verify_pg_archive::DETAILS)?;
    Facts::deserialize(facts).ok()
}

/// The database that a connection string names, if it does.
pub(crate) fn database_of(connection: &str) -> Result<Option<String>> {
    Ok(ConnInfo::parse(&connection.to_owned().into())?.get("dbname").map(str::to_owned))
}

/// Whether a connection string says which server it is of, rather than leaving that to libpq. The environment may say it, too.
pub(crate) fn names_server(connection: &str) -> Result<bool> {
    let said = ConnInfo::parse(&connection.to_owned().into())?;
    let by_environment = ["PGHOST", "PGHOSTADDR", "PGSERVICE"].iter().any(|name| std::env::var_os(name).is_some());
    Ok(by_environment || ["host", "hostaddr", "service", "port"].iter().any(|keyword| said.get(keyword).is_some()))
}

/// The same connection to a database of this name, and its password apart.
pub(crate) fn naming_database(connection: &str, database: &str) -> Result<(SecretString, Option<SecretString>)> {
    let mut all = ConnInfo::parse(&connection.to_owned().into())?;
    all.set("dbname", database);
    Ok((all.to_string().into(), all.password().cloned()))
}

/// A connection string without its password.
pub(crate) fn without_password(connection: &SecretString) -> Result<String> {
    ConnInfo::parse(connection).map(|connection| connection.to_string())
}

/// A directory dump as one stream.
pub(crate) fn directory_dump(folder: &Path) -> ByteStream {
    longshore_pg_client::directory::read(folder)
}

/// A new identity: the text of its file, and its recipient.
pub(crate) fn new_identity() -> (SecretString, String) {
    let identity = longshore_encrypt_age::generate();
    (identity.file, identity.recipient)
}

/// That backups can be sealed for recipients.
pub(crate) fn expect_recipients(recipients: &[String]) -> Result<()> {
    longshore_encrypt_age::Age::to(recipients).build(&()).map(drop)
}

/// A cluster that answers.
pub(crate) struct Found {
    /// How it was reached.
    pub(crate) connection: String,
    /// What it says of itself.
    pub(crate) server: String,
    /// Its databases, templates left out.
    pub(crate) databases: Vec<String>,
    /// What tells it from any other server of this host, by whatever socket it was reached.
    pub(crate) start: String,
}

/// How the environment says that a server is reached; empty where it says nothing.
pub(crate) fn connection_of_environment() -> String {
    longshore_pg_client::server::of_environment()
}

/// The sockets of this host's servers, each with the ways to try, the likeliest first.
pub(crate) fn local_sockets() -> Vec<(String, Vec<String>)> {
    longshore_pg_client::server::local_sockets()
}

/// Looks at the server that a connection string leads to.
pub(crate) async fn look(connection: &str) -> Result<Found> {
    let cluster =
        Cluster { name: "main".to_owned(), connection: connection.to_owned().into(), password: None, bin_dir: None };
    let client = Client::new(&cluster)?;
    let server = Server::look(&client).await?;
    let databases = databases(&client).await?.into_iter().filter(|database| !database.template);
    Ok(Found {
        connection: connection.to_owned(),
        server: format!("PostgreSQL {}", server.version()?),
        databases: databases.map(|database| database.name).collect(),
        start: client.ask("select to_json(pg_postmaster_start_time()::text || ' ' || current_setting('port'))").await?,
    })
}

#[cfg(test)]
mod tests {
    use longshore_service::config::Config;

    use super::*;

    #[test]
    fn the_example_configuration_is_read_as_it_stands() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config.example.toml");
        let config = Config::load(&path, &registry()).unwrap();
        assert_eq!(config.jobs.len(), 2);
    }

    #[test]
    fn the_readmes_configuration_is_read_as_it_stands() {
        let readme = include_str!("../../../README.md");
        let (_, config) = readme.split_once("```toml\n").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, config.split_once("```").unwrap().0).unwrap();
        assert_eq!(Config::load(&path, &registry()).unwrap().destinations.len(), 2);
    }
}
