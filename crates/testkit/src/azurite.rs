//! A throwaway store of Azure's language: Azurite, Microsoft's own emulator.
//!
//! It checks keys, knows create-only requests, and has one account, whose key everybody knows.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::cluster::folder::Folder;
use crate::cluster::{cache, process};
use crate::port::free_port;
use crate::server;

/// The npm package.
pub const PACKAGE: &str = "azurite@3.37.0";

/// The account that it has.
pub const ACCOUNT: &str = "devstoreaccount1";

/// The account's key, as Microsoft publishes it.
pub const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Where the set-up puts it, in the cache.
pub fn installation() -> PathBuf {
    cache::folder().join("azurite-3.37.0")
}

/// A running store. Dropping it stops it.
#[derive(Debug)]
pub struct Azurite {
    server: Child,
    address: SocketAddr,
    // What a test of a process that never drops it leaves is swept by the next.
    _folder: Folder,
}

impl Azurite {
    /// Starts it, empty.
    ///
    /// # Panics
    /// If it is not there, or does not answer.
    pub fn start() -> Self {
        let (folder, address) = (Folder::new(), SocketAddr::from(([127, 0, 0, 1], free_port())));
        let program = installation().join("node_modules/azurite/dist/src/blob/main.js");
        server::expect(&program);
        let mut node = process::bound(Path::new("node"));
        node.arg(program).args(["--silent", "--skipApiVersionCheck", "--disableTelemetry", "--blobHost", "127.0.0.1"]);
        node.args(["--blobPort", &address.port().to_string(), "--location"]).arg(folder.path());
        node.stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = process::spawn(node).unwrap();
        server::wait(address, &mut server);
        Self { server, address, _folder: folder }
    }

    /// The address of its account.
    pub fn endpoint(&self) -> String {
        format!("http://{}/{ACCOUNT}", self.address)
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        server::kill(&mut self.server);
    }
}
