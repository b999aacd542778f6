//! The commands of pgBackRest, with the same compression as in the other commands.

use longshore_testkit::cluster::NewFolder;

use super::database::{Database, shell};
use crate::Result;

/// The user of the server, if this process is root: pgBackRest reads its files.
const AS_SERVER: &str = "setpriv --reuid=postgres --regid=postgres --init-groups";

const COMPRESSION: &str = "--compress-type=zst --compress-level=1";

/// A repository of pgBackRest with encryption.
pub(super) struct PgBackRest {
    /// A folder that the server's user can enter. Dropping it removes the folder.
    folder: NewFolder,
    /// The program with the options of all commands.
    program: String,
    /// The option for the data directory of the server.
    source: String,
    /// The options for a connection to the server.
    server: String,
}

impl PgBackRest {
    /// Creates the repository.
    pub(super) fn make(database: &Database) -> Result<Self> {
        let new_folder = NewFolder::new();
        let folder = new_folder.path().display().to_string();
        let (socket, port) = database.socket();
        let options = format!(
            "--stanza=bench --config=/dev/null --repo1-path={folder}/repo --lock-path={folder}/lock \
             --log-path={folder}/log --log-level-console=error --log-level-file=off"
        );
        let cipher = "PGBACKREST_REPO1_CIPHER_TYPE=aes-256-cbc PGBACKREST_REPO1_CIPHER_PASS=bench";
        let program = format!("{AS_SERVER} env {cipher} pgbackrest {options}");
        let source = format!("--pg1-path={}", database.data_dir());
        let server = format!("--pg1-socket-path={socket} --pg1-port={port} --pg1-user=postgres");
        shell(&format!("{program} {source} {server} --no-online stanza-create"))?;
        Ok(Self { folder: new_folder, program, source, server })
    }

    /// Returns the command that makes a full backup with this number of processes.
    pub(super) fn backup(&self, processes: u32) -> String {
        let Self { program, source, server, .. } = self;
        format!(
            "{program} {source} {server} --process-max={processes} {COMPRESSION} --type=full --repo1-retention-full=1 --start-fast \
             --no-archive-check backup"
        )
    }

    /// Returns the command that restores the newest backup.
    pub(super) fn restore(&self) -> String {
        let (program, restored) = (&self.program, self.restored());
        format!(
            "install -d -o postgres -m 700 {restored} && {program} --process-max=2 --pg1-path={restored} restore && \
             sync -f {restored}"
        )
    }

    /// Returns the folder into which the restore command restores.
    pub(super) fn restored(&self) -> String {
        self.folder.data_dir().display().to_string()
    }

    /// Returns the command that archives a segment.
    pub(super) fn push(&self, segment: &str) -> String {
        format!("{} {} {COMPRESSION} archive-push {segment}", self.program, self.source)
    }

    /// Returns the command that removes an archived segment.
    pub(super) fn forget(&self, name: &str) -> String {
        format!("rm -f {}/repo/archive/bench/*/*/{name}*", self.folder.path().display())
    }

    /// Returns the command that fetches a segment.
    pub(super) fn get(&self, name: &str, target: &str) -> String {
        format!("{} {} archive-get {name} {target}", self.program, self.source)
    }
}
