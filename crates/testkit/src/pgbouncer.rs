//! PgBouncer in front of a temporary cluster.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Child;

use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::cluster::process::{as_server_user, spawn};
use crate::port::free_port;
use crate::server;

/// The path of the program in Debian.
const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// A running PgBouncer. Dropping it stops the process.
#[derive(Debug)]
pub struct PgBouncer {
    port: u16,
    running: Child,
    _folder: TempDir,
}

impl PgBouncer {
    /// Starts PgBouncer in front of `cluster`, with additional lines in the section `[pgbouncer]`.
    /// The users need no password.
    ///
    /// # Panics
    /// If PgBouncer does not start.
    pub fn start(cluster: &Cluster, lines: &[&str], users: &[&str]) -> Self {
        server::expect_installed(Path::new(PROGRAM));
        let folder = tempfile::Builder::new().prefix("longshore-pgbouncer-").tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let port = free_port();
        let (config, list) = (folder.path().join("pgbouncer.ini"), folder.path().join("users.txt"));
        let users: String = users.iter().map(|user| format!("\"{user}\" \"\"\n")).collect();
        fs::write(&list, users).unwrap();
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\n{}\n",
            cluster.port(),
            list.display(),
            lines.join("\n")
        );
        fs::write(&config, text).unwrap();
        for file in [&config, &list] {
            fs::set_permissions(file, Permissions::from_mode(0o644)).unwrap();
        }
        let mut command = as_server_user(Path::new(PROGRAM));
        command.arg("--quiet").arg(&config).stderr(std::process::Stdio::null());
        let mut running = spawn(command).expect("setpriv (util-linux) can be started");
        server::wait(([127, 0, 0, 1], port).into(), &mut running);
        Self { port, running, _folder: folder }
    }

    /// Returns the connection string, in libpq's keyword format.
    pub fn connection(&self, user: &str) -> String {
        format!("host=127.0.0.1 port={} user={user}", self.port)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        server::kill(&mut self.running);
    }
}
