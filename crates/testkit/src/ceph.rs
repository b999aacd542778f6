//! A temporary Ceph with its gateway: a real S3 store with versioning and Object Lock. It runs one
//! daemon of each kind in memory and starts in about a second.
//!
//! It checks signatures, lists unfinished uploads, and enforces locks. It honours `If-None-Match`
//! for simple uploads, except in buckets with versioning, and ignores it for multipart uploads.

mod config;
mod request;

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use crate::cluster::folder::Folder;
use crate::cluster::process;
use crate::port::free_port;
use crate::server;

/// The id of the key with all permissions.
pub const KEY: &str = "LONGSHORETESTKEY";
/// The secret of the key.
pub const SECRET: &str = "longshore-test-secret";
/// The region in signatures.
pub const REGION: &str = "us-east-1";

/// The time limit for a daemon to answer: much longer than necessary, for busy machines.
const START: Duration = Duration::from_secs(60);
/// The number of attempts to start, with other ports each time.
const STARTS: usize = 5;

/// A running store. Dropping it stops its daemons and removes their data.
#[derive(Debug)]
pub struct Ceph {
    daemons: Vec<Child>,
    address: SocketAddr,
    folder: Folder,
}

/// The protection of overwritten and deleted objects in a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// No versions are kept.
    Off,
    /// Versions are kept.
    Versioning,
    /// Versions are kept, and locks are enforced. The bucket's owner may lift locks in governance
    /// mode.
    ObjectLock,
}

/// The store's answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub text: String,
}

impl Ceph {
    /// Starts an empty store.
    ///
    /// # Panics
    /// If a program is not installed, or with the log of a daemon that does not answer.
    pub fn start() -> Self {
        for program in ["ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph", "monmaptool"] {
            server::expect_installed(&program_path(program));
        }
        let mut last_log = String::new();
        for _ in 0..STARTS {
            match Self::try_start() {
                Ok(ceph) => return ceph,
                // Another process may have taken the port.
                Err(log) => last_log = log,
            }
        }
        panic!("ceph did not start in {STARTS} attempts: {last_log}");
    }

    /// Returns the address of the gateway.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Creates a bucket.
    pub fn bucket(&self, name: &str, protection: Protection) {
        let locks: &[_] = &[("x-amz-bucket-object-lock-enabled", "true")];
        let response =
            self.request("PUT", name, "", "", if protection == Protection::ObjectLock { locks } else { &[] });
        assert_eq!(response.status, 200, "{response:?}");
        if protection == Protection::Versioning {
            let body = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
            let response = self.request("PUT", name, "versioning=", body, &[]);
            assert_eq!(response.status, 200, "{response:?}");
        }
    }

    /// Sends a request that destinations do not send. The query must be sorted, and each name in it
    /// needs a `=`.
    pub fn request(&self, method: &str, path: &str, query: &str, body: &str, headers: &[(&str, &str)]) -> Response {
        request::send(self.address, method, path, query, body, headers)
    }

    /// Returns the number of versions and of delete markers in a bucket.
    pub fn versions(&self, bucket: &str) -> (usize, usize) {
        let response = self.request("GET", bucket, "versions=", "", &[]);
        assert_eq!(response.status, 200, "{response:?}");
        (response.text.matches("<Version>").count(), response.text.matches("<DeleteMarker>").count())
    }

    fn try_start() -> Result<Self, String> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut ceph = Self { daemons: Vec::new(), address, folder: Folder::new() };
        let dir = ceph.folder.path().to_owned();
        let [cluster, osd] = [config::uuid(), config::uuid()];
        let monitor = format!("[v2:127.0.0.1:{}]", free_port());
        fs::write(dir.join("ceph.conf"), config::text(&dir, &cluster, &monitor, address)).unwrap();
        for folder in ["mon", "osd", "rgw"] {
            fs::create_dir(dir.join(folder)).unwrap();
        }
        let map = dir.join("monmap").display().to_string();
        ceph.run("monmaptool", &["--create", "--fsid", &cluster, "--addv", "a", &monitor, &map])?;
        ceph.run("ceph-mon", &["-i", "a", "--mkfs", "--monmap", &map])?;
        ceph.daemon("ceph-mon", &["-i", "a"]);
        ceph.run("ceph", &["--connect-timeout", "30", "osd", "new", &osd])?;
        ceph.run("ceph-osd", &["-i", "0", "--mkfs", "--osd-uuid", &osd])?;
        ceph.daemon("ceph-osd", &["-i", "0"]);
        ceph.daemon("radosgw", &["-n", "client.rgw"]);
        ceph.wait()?;
        let owner = ["user", "create", "--uid", "owner", "--display-name", "owner"];
        ceph.run("radosgw-admin", &[&owner[..], &["--access-key", KEY, "--secret-key", SECRET]].concat())?;
        Ok(ceph)
    }

    /// Waits until the gateway answers. Fails if a daemon ends.
    fn wait(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START;
        while TcpStream::connect(self.address).is_err() {
            let ended = self.daemons.iter_mut().any(|daemon| !matches!(daemon.try_wait(), Ok(None)));
            if ended || Instant::now() > deadline {
                let log = |name| fs::read_to_string(self.folder.path().join(format!("{name}.log"))).unwrap_or_default();
                return Err(["ceph-mon", "ceph-osd", "radosgw"].map(log).join("\n"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Runs a program to its end.
    fn run(&self, program: &str, arguments: &[&str]) -> Result<(), String> {
        let output = self.command(process::clean(&program_path(program)), program, arguments).output();
        let output = output.map_err(|error| format!("{program}: {error}"))?;
        let messages = String::from_utf8_lossy(&output.stderr);
        output.status.success().then_some(()).ok_or_else(|| format!("{program} {arguments:?}: {messages}"))
    }

    /// Starts a daemon that is killed when this process ends: it has no data to save.
    fn daemon(&mut self, program: &str, arguments: &[&str]) {
        let log = File::create(self.folder.path().join(format!("{program}.log"))).unwrap();
        let mut setpriv = process::clean(Path::new("setpriv"));
        setpriv.arg("--pdeathsig=KILL").arg("--").arg(program_path(program));
        let mut command = self.command(setpriv, program, arguments);
        command.arg("-f").stdout(log.try_clone().unwrap()).stderr(log);
        self.daemons.push(process::spawn(command).unwrap());
    }

    /// Adds the configuration to a command, if the program has one.
    fn command(&self, mut command: Command, program: &str, arguments: &[&str]) -> Command {
        if program != "monmaptool" {
            command.arg("-c").arg(self.folder.path().join("ceph.conf"));
        }
        command.args(arguments);
        command
    }
}

impl Drop for Ceph {
    fn drop(&mut self) {
        for daemon in self.daemons.iter_mut().rev() {
            server::kill(daemon);
        }
    }
}

fn program_path(program: &str) -> std::path::PathBuf {
    Path::new("/usr/bin").join(program)
}
