//! A throwaway Ceph with its gateway, a real S3 store that has versions and Object Lock: one of each daemon, in memory, up in about a second.
//!
//! It checks signatures, lists uploads under way, and enforces locks. It honours `If-None-Match` on bodies of one request, but not where a
//! bucket keeps versions, and never on uploads in parts.

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

/// The name of the key that may do everything.
pub const KEY: &str = "LONGSHORETESTKEY";
/// Its secret.
pub const SECRET: &str = "longshore-test-secret";
/// The region that signatures name.
pub const REGION: &str = "us-east-1";

/// How long a daemon may take to answer: much longer than it does, on a machine that does much else.
const START: Duration = Duration::from_secs(60);
/// How often it is begun with other ports.
const STARTS: usize = 5;

/// A running store. Dropping it stops its daemons and removes their data.
#[derive(Debug)]
pub struct Ceph {
    daemons: Vec<Child>,
    address: SocketAddr,
    folder: Folder,
}

/// What a bucket keeps of an object that is written over or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// Nothing.
    Nothing,
    /// Its versions.
    Versions,
    /// Its versions, and those under a lock from everybody. Its owner may lift locks of mode governance.
    Locks,
}

/// What the store answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// The body.
    pub text: String,
}

impl Ceph {
    /// Starts it, empty.
    ///
    /// # Panics
    /// If its programs are not there, or with the log of the one that does not answer.
    pub fn start() -> Self {
        for program in ["ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph", "monmaptool"] {
            server::expect(&program_path(program));
        }
        let mut told = String::new();
        for _ in 0..STARTS {
            match Self::try_start() {
                Ok(ceph) => return ceph,
                // Somebody else may have taken the port meanwhile.
                Err(log) => told = log,
            }
        }
        panic!("ceph did not start, {STARTS} times: {told}");
    }

    /// Where its gateway answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes a bucket.
    pub fn bucket(&self, name: &str, keeps: Keeps) {
        let locks: &[_] = &[("x-amz-bucket-object-lock-enabled", "true")];
        let made = self.ask("PUT", name, "", "", if keeps == Keeps::Locks { locks } else { &[] });
        assert_eq!(made.status, 200, "{made:?}");
        if keeps == Keeps::Versions {
            let body = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
            let made = self.ask("PUT", name, "versioning=", body, &[]);
            assert_eq!(made.status, 200, "{made:?}");
        }
    }

    /// Asks something of it that no destination does. The query is sorted, and each of its names has a `=`.
    pub fn ask(&self, method: &str, path: &str, query: &str, body: &str, headers: &[(&str, &str)]) -> Answer {
        request::send(self.address, method, path, query, body, headers)
    }

    /// How many versions and how many marks of removal a bucket holds.
    pub fn versions(&self, bucket: &str) -> (usize, usize) {
        let listed = self.ask("GET", bucket, "versions=", "", &[]);
        assert_eq!(listed.status, 200, "{listed:?}");
        (listed.text.matches("<Version>").count(), listed.text.matches("<DeleteMarker>").count())
    }

    fn try_start() -> Result<Self, String> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut ceph = Self { daemons: Vec::new(), address, folder: Folder::new() };
        let place = ceph.folder.path().to_owned();
        let [cluster, osd] = [config::uuid(), config::uuid()];
        let monitor = format!("[v2:127.0.0.1:{}]", free_port());
        fs::write(place.join("ceph.conf"), config::text(&place, &cluster, &monitor, address)).unwrap();
        for folder in ["mon", "osd", "rgw"] {
            fs::create_dir(place.join(folder)).unwrap();
        }
        let map = place.join("monmap").display().to_string();
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

    /// Waits until the gateway answers, or one of them all ends.
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

    /// Runs one of its programs to its end.
    fn run(&self, program: &str, arguments: &[&str]) -> Result<(), String> {
        let output = self.command(process::clean(&program_path(program)), program, arguments).output();
        let output = output.map_err(|error| format!("{program}: {error}"))?;
        let told = String::from_utf8_lossy(&output.stderr);
        output.status.success().then_some(()).ok_or_else(|| format!("{program} {arguments:?}: {told}"))
    }

    /// Starts a daemon that is killed when this process ends, in whatever way: there is nothing that it should save.
    fn daemon(&mut self, program: &str, arguments: &[&str]) {
        let log = File::create(self.folder.path().join(format!("{program}.log"))).unwrap();
        let mut setpriv = process::clean(Path::new("setpriv"));
        setpriv.arg("--pdeathsig=KILL").arg("--").arg(program_path(program));
        let mut command = self.command(setpriv, program, arguments);
        command.arg("-f").stdout(log.try_clone().unwrap()).stderr(log);
        self.daemons.push(process::spawn(command).unwrap());
    }

    /// The same command with its configuration, where it has one.
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
