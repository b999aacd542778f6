//! A throwaway Garage, a real S3 store: three nodes that keep three copies, or one alone, up in seconds and gone with the test's process.
//!
//! It checks signatures and checksums and lists uploads under way. It ignores `If-None-Match` and Object Lock's headers, and a list
//! may for a moment name what was removed.

use std::fs::{self, Permissions};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::cluster::folder::Folder;
use crate::cluster::{cache, process};
use crate::port::free_port;
use crate::server;

/// The version that the set-up installs.
pub const VERSION: &str = "2.5.0";

/// The region that it says it is.
pub const REGION: &str = "garage";

/// How long a node may take to answer.
const START: Duration = Duration::from_secs(60);

/// Where the set-up installs the program, in the cache.
pub fn installation() -> PathBuf {
    cache::folder().join(format!("garage-{VERSION}"))
}

/// A running cluster. Dropping it stops its nodes and removes their data.
#[derive(Debug)]
pub struct Garage {
    nodes: Vec<Node>,
    folder: Folder,
}

#[derive(Debug)]
struct Node {
    server: Mutex<Child>,
    api: u16,
    config: PathBuf,
}

/// Somebody who may use a bucket.
#[derive(Debug, Clone)]
pub struct Key {
    /// The name of the key.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

/// What a key may do with a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Everything.
    Everything,
    /// Write and remove; neither read nor list.
    Write,
}

impl Garage {
    /// Starts three nodes and makes them one cluster, which keeps three copies.
    ///
    /// # Panics
    /// If the program is not there, or with a node's log if that does not answer.
    pub fn start() -> Self {
        Self::of(3)
    }

    /// Starts one node, which keeps one copy: where time is measured, three would take it from each other.
    ///
    /// # Panics
    /// As [`Garage::start`].
    pub fn alone() -> Self {
        Self::of(1)
    }

    fn of(copies: usize) -> Self {
        let folder = Folder::new();
        let secret = random_hex(4);
        let start = |number: usize| Node::start(&folder.path().join(number.to_string()), copies, &secret);
        let nodes: Vec<_> = (0..copies).map(start).collect();
        let garage = Self { nodes, folder };
        let ids: Vec<_> = garage.nodes.iter().map(Node::wait_for_id).collect();
        for id in &ids[1..] {
            garage.run(&["node", "connect", id]);
        }
        for (id, zone) in ids.iter().zip(["a", "b", "c"]) {
            let id = id.split('@').next().unwrap();
            garage.run(&["layout", "assign", "-z", zone, "-c", "1G", id]);
        }
        garage.run(&["layout", "apply", "--version", "1"]);
        garage
    }

    /// Where one of its nodes, counted from 0, answers.
    pub fn address(&self, node: usize) -> SocketAddr {
        ([127, 0, 0, 1], self.nodes[node].api).into()
    }

    /// Makes a bucket, and a key that may use it so.
    pub fn bucket(&self, name: &str, permission: Permission) -> Key {
        self.run(&["bucket", "create", name]);
        self.key(name, permission)
    }

    /// Makes a key that may use a bucket so.
    pub fn key(&self, bucket: &str, permission: Permission) -> Key {
        let key = Key { id: format!("GK{}", &random_hex(2)[..24]), secret: random_hex(4) };
        self.run(&["key", "import", "--yes", "-n", "test", &key.id, &key.secret]);
        let allowed: &[&str] = match permission {
            Permission::Everything => &["--read", "--write", "--owner"],
            Permission::Write => &["--write"],
        };
        self.run(&[&["bucket", "allow"], allowed, &[bucket, "--key", &key.id]].concat());
        key
    }

    /// Kills a node as a power cut would.
    pub fn kill(&self, node: usize) {
        let mut server = self.nodes[node].server.lock().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
    }

    /// The folders that its nodes keep blocks of objects in.
    pub fn blocks(&self) -> Vec<PathBuf> {
        (0..self.nodes.len()).map(|node| self.folder.path().join(node.to_string()).join("data")).collect()
    }

    /// Whether uploads to a bucket were begun that have neither been completed nor taken back. Nodes hear of that a little later.
    pub fn has_unfinished_uploads(&self, bucket: &str) -> bool {
        self.run(&["bucket", "info", bucket]).contains("Unfinished uploads")
    }

    /// What a node has logged.
    pub fn log(&self, node: usize) -> String {
        fs::read_to_string(self.folder.path().join(node.to_string()).join("log")).unwrap_or_default()
    }

    fn run(&self, arguments: &[&str]) -> String {
        let mut garage = self.nodes[0].program();
        let output = garage.args(arguments).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "garage {arguments:?}: {told}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Garage {
    fn drop(&mut self) {
        for node in &self.nodes {
            let mut server = node.server.lock().unwrap();
            server::kill(&mut server);
        }
    }
}

impl Node {
    fn start(folder: &Path, copies: usize, secret: &str) -> Self {
        fs::create_dir(folder).unwrap();
        let (api, rpc, config) = (free_port(), free_port(), folder.join("garage.toml"));
        let text = format!(
            "metadata_dir = \"{place}/meta\"\ndata_dir = \"{place}/data\"\ndb_engine = \"sqlite\"\nreplication_factor = {copies}\n\
             consistency_mode = \"consistent\"\nmetadata_fsync = false\ndata_fsync = false\nrpc_bind_addr = \"127.0.0.1:{rpc}\"\n\
             rpc_public_addr = \"127.0.0.1:{rpc}\"\nrpc_secret = \"{secret}\"\n[s3_api]\ns3_region = \"{REGION}\"\n\
             api_bind_addr = \"127.0.0.1:{api}\"\n",
            place = folder.display(),
        );
        fs::write(&config, text).unwrap();
        fs::set_permissions(&config, Permissions::from_mode(0o600)).unwrap();
        let log = fs::File::create(folder.join("log")).unwrap();
        let mut server = process::bound(&program());
        server.arg("-c").arg(&config).arg("server").stdin(Stdio::null());
        server.stdout(log.try_clone().unwrap()).stderr(log);
        Self { server: Mutex::new(process::spawn(server).unwrap()), api, config }
    }

    fn program(&self) -> std::process::Command {
        let mut garage = process::clean(&program());
        garage.arg("-c").arg(&self.config);
        garage
    }

    /// The node's name and address, once it answers.
    fn wait_for_id(&self) -> String {
        let deadline = Instant::now() + START;
        loop {
            if self.program().arg("status").output().unwrap().status.success() {
                let told = self.program().args(["node", "id", "-q"]).output().unwrap().stdout;
                return String::from_utf8(told).unwrap().trim().to_owned();
            }
            let log = || fs::read_to_string(self.config.with_file_name("log")).unwrap_or_default();
            assert!(self.server.lock().unwrap().try_wait().unwrap().is_none(), "a node ended: {}", log());
            assert!(Instant::now() < deadline, "a node did not answer within {START:?}: {}", log());
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn program() -> PathBuf {
    let program = installation().join("bin/garage");
    server::expect(&program);
    program
}

/// So many random words of 64 bits, in hexadecimal.
fn random_hex(words: usize) -> String {
    (0..words).map(|word| format!("{:016x}", RandomState::new().hash_one(word))).collect()
}
