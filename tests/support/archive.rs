//! A cluster that archives its WAL. PostgreSQL runs the binary, so its user owns all files.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use longshore_testkit::cluster::{Cluster, Installation, NewFolder};

use super::{CommandOutput, EVERYTHING, Job, TestEnv, finish, wait_for};

/// A base backup that contains the WAL that makes it consistent.
const BASE: &str = "[{ type = 'pg_base', checkpoint = 'fast' }]";

/// The environment of a cluster that archives its WAL.
pub(crate) struct ArchiveEnv {
    pub(crate) env: TestEnv,
    /// A copy of the binary, if the user of servers cannot enter the folder of the build.
    binary: PathBuf,
    _copy: NewFolder,
}

impl ArchiveEnv {
    /// Starts a cluster that archives to the destination `local`, with more settings.
    pub(crate) fn start(installation: &Installation, settings: &[&str]) -> Self {
        let archiving = Self::without_command(installation, settings);
        archiving.configure("");
        archiving.set_command();
        archiving
    }

    /// Sets archive_command.
    pub(crate) fn set_command(&self) {
        let command = self.archive_command();
        self.set(&format!("alter system set archive_command = '{}'", command.replace('\'', "''")));
    }

    /// Starts a cluster whose WAL waits to be archived, because archive_command is not set.
    pub(crate) fn without_command(installation: &Installation, settings: &[&str]) -> Self {
        let settings = [&["archive_mode=on", "wal_level=replica"], settings].concat();
        Self::of(Cluster::start(installation, &settings))
    }

    /// Returns the environment of a cluster with archive_mode, whose archive_command is not set.
    pub(crate) fn of(cluster: Cluster) -> Self {
        let env = TestEnv::with_cluster(cluster);
        let copy = NewFolder::new();
        let built = Path::new(env!("CARGO_BIN_EXE_longshore"));
        let data_dir = env.cluster.data_dir();
        let mut binary = built.to_owned();
        if finish(as_owner_of(&data_dir, built).arg("--version")).code != Some(0) {
            binary = copy.path().join("longshore");
            fs::copy(built, &binary).unwrap();
        }
        let archiving = Self { env, binary, _copy: copy };
        archiving.give_files();
        archiving
    }

    /// Configures the archive at `local`, with these lines in addition.
    pub(crate) fn configure(&self, more: &str) {
        let age = format!("encrypt = {{ type = 'age', recipients = ['{}'] }}", self.env.recipient());
        self.configure_job(&Job {
            more: &format!("[cluster.main.wal]\nship = ['local']\n{age}\n{more}"),
            ..Job::default()
        });
    }

    /// Configures a job of base backups, unless it has a list of dump stages.
    pub(crate) fn configure_job(&self, job: &Job<'_>) {
        let dump = if job.dump == EVERYTHING { BASE } else { job.dump };
        let cluster = format!("bin_dir = '{}'", self.env.cluster.bin_dir().display());
        let job = Job { dump, cluster: &cluster, more: job.more, ship: job.ship, remote: job.remote, ..Job::default() };
        self.env.configure(&job);
        self.give_files();
    }

    /// Gives all files to the user of servers.
    pub(crate) fn give_files(&self) {
        let owner = fs::metadata(self.env.cluster.data_dir()).unwrap();
        let mut folders = vec![self.env.path("")];
        while let Some(folder) = folders.pop() {
            chown(&folder, Some(owner.uid()), Some(owner.gid())).unwrap();
            for entry in fs::read_dir(&folder).unwrap() {
                let entry = entry.unwrap();
                match entry.file_type().unwrap().is_dir() {
                    true => folders.push(entry.path()),
                    false => chown(entry.path(), Some(owner.uid()), Some(owner.gid())).unwrap(),
                }
            }
        }
    }

    /// Returns the shell command that archives.
    pub(crate) fn archive_command(&self) -> String {
        format!("{} --config {} wal push \"%p\"", self.binary.display(), self.env.config_path().display())
    }

    /// Returns the shell command that fetches.
    pub(crate) fn restore_command(&self) -> String {
        let (config, identity) = (self.env.config_path(), self.env.identity());
        let binary = self.binary.display();
        format!("{binary} --config {} wal fetch %f \"%p\" -i {}", config.display(), identity.display())
    }

    /// Changes a setting of the server.
    pub(crate) fn set(&self, statement: &str) {
        self.env.cluster.psql("postgres", statement);
        self.env.cluster.psql("postgres", "select pg_reload_conf()");
    }

    /// Returns the binary as the server's user, in a folder.
    pub(crate) fn command(&self, folder: &Path) -> Command {
        let mut command = as_owner_of(&self.env.cluster.data_dir(), &self.binary);
        command.current_dir(folder).env("HOME", self.env.path("")).arg("--config").arg(self.env.config_path());
        command
    }

    /// Returns another program as the server's user.
    pub(crate) fn as_owner(&self, program: &Path) -> Command {
        as_owner_of(&self.env.cluster.data_dir(), program)
    }

    /// Runs the binary as the server's user.
    pub(crate) fn longshore(&self, arguments: &[&str]) -> CommandOutput {
        finish(self.command(&self.env.path("")).args(arguments))
    }

    /// Runs the binary as PostgreSQL does: in the data directory.
    pub(crate) fn in_data_dir(&self, arguments: &[&str]) -> CommandOutput {
        finish(self.command(&self.env.cluster.data_dir()).args(arguments))
    }

    /// Ends the current segment. Returns its name.
    pub(crate) fn switch(&self) -> String {
        // The written position may still be in the segment before.
        let switch = "select pg_walfile_name(pg_create_restore_point('switch'))";
        let name = self.env.cluster.psql("postgres", switch);
        self.env.cluster.psql("postgres", "select pg_switch_wal()");
        name
    }

    /// Ends the current segment, and waits until it is archived.
    pub(crate) fn archive(&self) -> String {
        let name = self.switch();
        let query = format!("select last_archived_wal >= '{name}' from pg_stat_archiver");
        wait_for(&format!("{name} to be archived"), || {
            (self.env.cluster.psql("postgres", &query) == "t").then_some(())
        });
        name
    }

    /// Returns the archived files below the folder `wal` of a destination.
    pub(crate) fn archived(&self, destination: &str) -> Vec<String> {
        let files = super::files(&self.env.path(destination)).into_iter();
        files.filter(|file| file.starts_with("main/wal/")).collect()
    }

    /// Restores the newest base backup into a new folder.
    pub(crate) fn restore_base(&self) -> NewFolder {
        let folder = NewFolder::new();
        let data_dir = folder.data_dir().display().to_string();
        let identity = self.env.identity().display().to_string();
        self.longshore(&["restore", "main/base", "--to-dir", &data_dir, "-i", &identity]).expect(0);
        folder
    }

    /// Restores the newest base backup, for a recovery from the archive with more settings.
    pub(crate) fn restore_for_recovery(&self, restore_command: &str, signal: &str, more: &str) -> NewFolder {
        let folder = self.restore_base();
        let data_dir = folder.data_dir();
        let mut settings = fs::read_to_string(data_dir.join("postgresql.auto.conf")).unwrap_or_default();
        settings.push_str(&format!("restore_command = '{}'\n{more}\n", restore_command.replace('\'', "''")));
        fs::write(data_dir.join("postgresql.auto.conf"), settings).unwrap();
        fs::write(data_dir.join(signal), "").unwrap();
        let owner = fs::metadata(&data_dir).unwrap();
        chown(data_dir.join(signal), Some(owner.uid()), Some(owner.gid())).unwrap();
        folder
    }
}

/// Returns a program that runs as the owner of a file.
fn as_owner_of(file: &Path, program: &Path) -> Command {
    let owner = fs::metadata(file).unwrap();
    let mut command = Command::new("setpriv");
    if fs::metadata("/proc/self").unwrap().uid() != owner.uid() {
        command.arg(format!("--reuid={}", owner.uid())).arg(format!("--regid={}", owner.gid())).arg("--clear-groups");
    }
    command.arg("--").arg(program).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}
