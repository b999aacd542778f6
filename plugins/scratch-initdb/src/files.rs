//! A cluster on the files of a base backup: the folder that they are unpacked into, and the server
//! that recovers them.
//!
//! Without archived WAL, the files contain no `recovery.signal`, so the server replays the WAL of
//! the backup and no more, as after a crash: it fails before the backup's end, waits for no
//! archive, stays on its timeline and has recovered once it accepts connections. Source:
//! `InitWalRecovery` and `FinishWalRecovery` in PostgreSQL's `xlogrecovery.c`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use longshore_core::base::BaseFacts;
use longshore_core::plugin::{Cluster, Recovery};
use longshore_core::stage::{RestoreRequest, ScratchCluster, ScratchFolder};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::client::Client;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::configuration::{self, Configuration};
use crate::log::Log;
use crate::prerequisites::{self, Programs};
use crate::watchdog::{self, START_TIMEOUT, ServerCommand, SupervisedServer};
use crate::{ClusterProvider, PORT, TemporaryCluster, conninfo_escaped, end, isolation_policy};

/// The speed that recovery has at least, in bytes of the backup a second.
const RECOVERY_SPEED: u64 = 1 << 20;

/// Files of the source that would change the server: settings of `ALTER SYSTEM`, the modes of
/// recovery, and a running server.
const REMOVED_FILES: [&str; 4] = ["postgresql.auto.conf", "standby.signal", "postmaster.pid", "postmaster.opts"];

/// The settings of a recovery from archived WAL, in the folder of the drill, where no file of the
/// backup can be.
const RECOVERY: &str = "recovery.conf";

/// The database that single-user mode opens. Every cluster has it.
const TEMPLATE1: &str = "template1";

/// A folder for the files of one backup, in which no server runs yet.
pub(crate) struct FilesFolder {
    server: SupervisedServer,
    folder: PathBuf,
    description: String,
    version: String,
    cluster: Cluster,
    tablespaces: BTreeMap<String, PathBuf>,
    warnings: Vec<String>,
    limit: Duration,
}

impl ClusterProvider {
    /// Creates a folder for the files of a backup.
    pub(crate) async fn files(&self, request: &RestoreRequest<'_>) -> Result<FilesFolder> {
        let manifest = request.manifest;
        let Some(base) = &manifest.base else {
            let message = "its manifest has no record of its files";
            return Err(Error::new(Stage::Drill, Kind::Failed, manifest.subject.to_string(), message)
                .hint("back up with verify = [{ type = \"pg_base\" }], which records them"));
        };
        let programs = prerequisites::programs_for_files(&self.settings, &self.site, manifest).await?;
        let folder = self.folder(prerequisites::space_for_files(request))?;
        let socket = folder.join("socket");
        prerequisites::expect_short_socket_path(&socket)?;
        let user = prerequisites::user(&self.settings)?;
        let chosen = configuration::for_files(&self.settings.settings, &base.settings);
        let Configuration { settings, overridden } = configuration::resolve(&chosen, &socket, programs.major);
        let isolation = self.isolation(&programs, user.as_ref()).await;
        let required = self.settings.isolation;
        let mut warnings: Vec<String> =
            isolation_policy::check_files(required, &isolation, &manifest.subject)?.into_iter().collect();
        warnings.extend(overridden);
        let oids = tablespaces(base, request.details);
        let tablespaces = oids.iter().map(|oid| (oid.to_string(), folder.join(tablespace_folder(*oid))));
        let tablespaces = tablespaces.collect::<BTreeMap<_, _>>();
        let names = ["data", "socket", "tablespaces"].map(str::to_owned).into_iter();
        let names: Vec<String> = names.chain(oids.iter().copied().map(tablespace_folder)).collect();
        let role = role(&folder);
        let server_command = ServerCommand {
            words: isolation.wrap(Some(&folder), user.as_ref(), &shell_line(&programs, &folder, &role, &settings)),
            environment: isolation.environment(&folder.join("data")),
        };
        let connection = format!(
            "host='{}' port={PORT} user={role} options='{}'",
            conninfo_escaped(&socket),
            configuration::session_options(programs.major)
        );
        Ok(FilesFolder {
            server: SupervisedServer::create(folder.clone(), user.as_ref(), &names, server_command)?,
            description: format!(
                "PostgreSQL {}, started on the files of the backup, {}",
                programs.version,
                isolation.description()
            ),
            version: programs.version.to_string(),
            cluster: Cluster {
                name: "scratch".to_owned(),
                connection: connection.into(),
                password: None,
                bin_dir: programs.bin_dir,
            },
            tablespaces,
            warnings,
            limit: START_TIMEOUT + Duration::from_secs(manifest.artifact.plaintext.bytes / RECOVERY_SPEED),
            folder,
        })
    }
}

/// An element of the details' list of tablespaces, as the dump records it.
#[derive(Debug, Deserialize)]
struct RecordedTablespace {
    oid: u32,
    path: Option<String>,
}

/// Returns the OIDs of the tablespaces that need a folder: all except those within the data
/// directory of the source, whose paths are relative.
fn tablespaces(base: &BaseFacts, details: Option<&Map<String, Value>>) -> BTreeSet<u32> {
    let mut oids: BTreeSet<u32> = base.tablespaces.iter().map(|tablespace| tablespace.oid).collect();
    let recorded = details.and_then(|details| details.get("tablespaces")?.as_array());
    for tablespace in recorded.into_iter().flatten() {
        // The data directory itself has no OID.
        let Ok(RecordedTablespace { oid, path }) = RecordedTablespace::deserialize(tablespace) else { continue };
        match path {
            Some(path) if !path.starts_with('/') => oids.remove(&oid),
            _ => oids.insert(oid),
        };
    }
    oids
}

/// Returns the folder of a tablespace, within the drill's folder.
fn tablespace_folder(oid: u32) -> String {
    format!("tablespaces/{oid}")
}

/// Returns the name of a superuser for the drill, with letters that need no quotes. The drill does
/// not know the superusers of the source, which may not be permitted to log in.
fn role(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    name.chars().map(|char| if char.is_ascii_alphanumeric() { char.to_ascii_lowercase() } else { '_' }).collect()
}

/// Returns the shell command that starts the server. The first, in single-user mode, recovers the
/// files and creates the role; it checks neither passwords nor the permission to log in.
fn shell_line(programs: &Programs, folder: &Path, role: &str, settings: &[(String, String)]) -> String {
    let data = folder.join("data");
    let path = |name: &str| watchdog::shell_line(&[data.join(name).display().to_string()]);
    let server = |mode: &[&str], database: &[&str]| {
        let mut words = vec![programs.postgres.display().to_string()];
        words.extend(mode.iter().map(|word| (*word).to_owned()));
        words.extend(["-D".to_owned(), data.display().to_string()]);
        words.extend(settings.iter().flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]));
        words.extend(database.iter().map(|word| (*word).to_owned()));
        watchdog::shell_line(&words)
    };
    [
        format!("rm -f -- {}", REMOVED_FILES.map(path).join(" ")),
        // A backup may contain the signal as well.
        format!(
            "if [ -f {recovery} ]; then cat {recovery} >{conf}; else rm -f -- {signal}; : >{conf}; fi",
            recovery = watchdog::shell_line(&[folder.join(RECOVERY).display().to_string()]),
            conf = path("postgresql.conf"),
            signal = path("recovery.signal"),
        ),
        format!(": >{}", path("pg_ident.conf")),
        format!("echo local all all trust >{}", path("pg_hba.conf")),
        format!("echo 'create role {role} superuser login' | {} >/dev/null", server(&["--single"], &[TEMPLATE1])),
        // As the first process of its namespace, the server would take exits of orphaned processes
        // for its own children's, so the shell must not become the server.
        format!("{}; exit $?", server(&[], &[])),
    ]
    .join(" && ")
}

#[async_trait]
impl ScratchFolder for FilesFolder {
    fn description(&self) -> String {
        self.description.clone()
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    fn data_directory(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn tablespaces(&self) -> BTreeMap<String, PathBuf> {
        self.tablespaces.clone()
    }

    fn folder(&self) -> PathBuf {
        self.folder.join("files")
    }

    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    async fn recover(&mut self, recovery: &Recovery) -> Result<()> {
        // A server in single-user mode is no hot standby, and needs no settings for one.
        let hot_standby = ("hot_standby".to_owned(), "off".to_owned());
        let settings = recovery.settings.iter().chain([&hot_standby]);
        let lines = settings.map(|(name, value)| format!("{name} = '{}'\n", value.replace('\'', "''")));
        let path = self.folder.join(RECOVERY);
        let written = fs::write(&path, lines.collect::<String>())
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o644)));
        written.map_err(|error| {
            Error::io(Stage::Drill, path.display().to_string(), "cannot write the settings of the recovery", error)
        })?;
        let wal = recovery.files.iter().filter_map(|name| Some(recovery.folder.join(name).metadata().ok()?.len()));
        self.limit += Duration::from_secs(wal.sum::<u64>() / RECOVERY_SPEED);
        Ok(())
    }

    async fn start(self: Box<Self>) -> Result<Box<dyn ScratchCluster>> {
        let Self { mut server, folder, description, version, cluster, limit, .. } = *self;
        server.start(limit).await?;
        let client = Client::new(&cluster)?.to_database(TEMPLATE1);
        let is_in_recovery: bool = client.query("select to_json(pg_catalog.pg_is_in_recovery())").await?;
        if is_in_recovery {
            let message = "accepts connections, but has not ended its recovery";
            return Err(Error::new(Stage::Drill, Kind::Failed, "scratch", message));
        }
        Ok(Box::new(TemporaryCluster {
            server,
            description,
            version,
            cluster,
            files: folder.join("files"),
            log: Log::new(folder.join("log")),
            warnings: Vec::new(),
        }))
    }

    async fn remove(self: Box<Self>) -> Result<()> {
        end(self.server).await
    }
}

#[cfg(test)]
mod tests {
    use longshore_pg_client::tool::Version;
    use serde_json::json;

    use super::*;

    #[test]
    fn only_tablespaces_outside_need_folders() {
        let base: BaseFacts = serde_json::from_value(json!({
            "timeline": 1, "start_lsn": "0/2000028", "stop_lsn": "0/2000130", "wal": "included",
            "wal_segment_bytes": 16 << 20, "from_standby": false, "page_checksums": true, "settings": {},
            "files": 1, "file_bytes": 3, "tablespaces": [{ "oid": 7, "bytes": 1 }, { "oid": 8, "bytes": 1 }]
        }))
        .unwrap();
        assert_eq!(tablespaces(&base, None), [7, 8].into());
        let details = json!({ "tablespaces": [
            { "oid": null, "path": "/data" }, { "oid": 8, "path": "pg_tblspc/8" }, { "oid": 9, "path": "/annex" }
        ] });
        assert_eq!(tablespaces(&base, details.as_object()), [7, 9].into());
    }

    #[test]
    fn files_of_source_do_not_configure_the_server() {
        let programs = Programs {
            initdb: "/usr/bin/initdb".into(),
            postgres: "/usr/bin/postgres".into(),
            major: 17,
            bin_dir: None,
            version: Version::parse("17.4").unwrap(),
            requested: None,
        };
        let folder = Path::new("/tmp/it's/longshore-drill-1-0a");
        let settings = [("archive_mode".to_owned(), "off".to_owned())];
        let line = shell_line(&programs, folder, &role(folder), &settings);
        let data = r"'/tmp/it'\''s/longshore-drill-1-0a/data";
        for part in [
            format!("rm -f -- {data}/postgresql.auto.conf' {data}/standby.signal' "),
            format!("else rm -f -- {data}/recovery.signal'; : >{data}/postgresql.conf'; fi && "),
            format!("echo local all all trust >{data}/pg_hba.conf' && "),
            format!(
                "echo 'create role longshore_drill_1_0a superuser login' | \
                 '/usr/bin/postgres' '--single' '-D' {data}' '-c' 'archive_mode=off' 'template1' >/dev/null && "
            ),
            format!("'/usr/bin/postgres' '-D' {data}' '-c' 'archive_mode=off'; exit $?"),
        ] {
            assert!(line.contains(&part), "{part} in {line}");
        }
    }
}
