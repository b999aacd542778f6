//! A temporary Garage, a real S3 store: three nodes that keep three copies, or one node. It starts
//! in seconds and ends with the test process.
//!
//! It checks signatures and checksums and lists unfinished uploads. It ignores `If-None-Match` and
//! the headers of Object Lock, and a listing may contain a deleted key for a moment.

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

/// The version that the setup installs.
pub const VERSION: &str = "2.5.0";

/// The region of the store.
pub const REGION: &str = "garage";

/// The time limit for a node to answer.
const START: Duration = Duration::from_secs(60);

/// Returns the path in the cache where the setup installs the program.
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

/// A key with permissions for a bucket.
#[derive(Debug, Clone)]
pub struct Key {
    /// The id of the key.
    pub id: String,
    /// The secret of the key.
    pub secret: String,
}

/// The permissions of a key for a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// All permissions.
    Everything,
    /// Permission to write and delete, but not to read or list.
    Write,
}

impl Garage {
    /// Starts three nodes as one cluster, which keeps three copies.
    ///
    /// # Panics
    /// If the program is not installed, or with the log of a node that does not answer.
    pub fn start() -> Self {
        Self::with_nodes(3)
    }

    /// Starts one node, which keeps one copy: for measurements of time, which three nodes would
    /// disturb.
    ///
    /// # Panics
    /// Like [`Garage::start`].
    pub fn single_node() -> Self {
        Self::with_nodes(1)
    }

    fn with_nodes(copies: usize) -> Self {
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

    /// Returns the address of a node, counted from 0.
    pub fn address(&self, node: usize) -> SocketAddr {
        ([127, 0, 0, 1], self.nodes[node].api).into()
    }

    /// Creates a bucket, and a key with a permission for it.
    pub fn bucket(&self, name: &str, permission: Permission) -> Key {
        self.run(&["bucket", "create", name]);
        self.key(name, permission)
    }

    /// Creates a key with a permission for a bucket.
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

    /// Kills a node, like a power cut.
    pub fn kill(&self, node: usize) {
        let mut server = self.nodes[node].server.lock().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
    }

    /// Returns the folders in which the nodes store objects.
    pub fn blocks(&self) -> Vec<PathBuf> {
        (0..self.nodes.len()).map(|node| self.folder.path().join(node.to_string()).join("data")).collect()
    }

    /// Returns true if a bucket has uploads that were neither completed nor aborted. Nodes learn of
    /// completed uploads a little later.
    pub fn has_unfinished_uploads(&self, bucket: &str) -> bool {
        self.run(&["bucket", "info", bucket]).contains("Unfinished uploads")
    }

    /// Returns the log of a node.
    pub fn log(&self, node: usize) -> String {
        fs::read_to_string(self.folder.path().join(node.to_string()).join("log")).unwrap_or_default()
    }

    fn run(&self, arguments: &[&str]) -> String {
        let mut garage = self.nodes[0].program();
        let output = garage.args(arguments).output().unwrap();
        let messages = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "garage {arguments:?}: {messages}");
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
            "metadata_dir = \"{dir}/meta\"\ndata_dir = \"{dir}/data\"\ndb_engine = \"sqlite\"\nreplication_factor = {copies}\n\
             consistency_mode = \"consistent\"\nmetadata_fsync = false\ndata_fsync = false\nrpc_bind_addr = \"127.0.0.1:{rpc}\"\n\
             rpc_public_addr = \"127.0.0.1:{rpc}\"\nrpc_secret = \"{secret}\"\n[s3_api]\ns3_region = \"{REGION}\"\n\
             api_bind_addr = \"127.0.0.1:{api}\"\n",
            dir = folder.display(),
        );
        fs::write(&config, text).unwrap();
        fs::set_permissions(&config, Permissions::from_mode(0o600)).unwrap();
        let log = fs::File::create(folder.join("log")).unwrap();
        let mut server = process::killed_with_parent(&program());
        server.arg("-c").arg(&config).arg("server").stdin(Stdio::null());
        server.stdout(log.try_clone().unwrap()).stderr(log);
        Self { server: Mutex::new(process::spawn(server).unwrap()), api, config }
    }

    fn program(&self) -> std::process::Command {
        let mut garage = process::clean(&program());
        garage.arg("-c").arg(&self.config);
        garage
    }

    /// Waits until the node answers, and returns its name and address.
    fn wait_for_id(&self) -> String {
        let deadline = Instant::now() + START;
        loop {
            if self.program().arg("status").output().unwrap().status.success() {
                let id = self.program().args(["node", "id", "-q"]).output().unwrap().stdout;
                return String::from_utf8(id).unwrap().trim().to_owned();
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
    server::expect_installed(&program);
    program
}

/// Returns `words` random 64-bit words in hexadecimal.
fn random_hex(words: usize) -> String {
    (0..words).map(|word| format!("{:016x}", RandomState::new().hash_one(word))).collect()
}
