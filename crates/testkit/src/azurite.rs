//! A temporary store with Azure's protocol: Azurite, Microsoft's emulator.
//!
//! Azurite checks keys, supports create-only requests, and has one account with a public key.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::cluster::folder::Folder;
use crate::cluster::{cache, process};
use crate::port::free_port;
use crate::server;

/// The npm package.
pub const PACKAGE: &str = "azurite@3.37.0";

/// The name of the account.
pub const ACCOUNT: &str = "devstoreaccount1";

/// The account's key, as published by Microsoft.
pub const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Returns the path in the cache where the setup installs Azurite.
pub fn installation() -> PathBuf {
    cache::folder().join("azurite-3.37.0")
}

/// A running store. Dropping it stops the server.
#[derive(Debug)]
pub struct Azurite {
    server: Child,
    address: SocketAddr,
    // If a test process dies without dropping the folder, a later test sweeps it.
    _folder: Folder,
}

impl Azurite {
    /// Starts an empty store.
    ///
    /// # Panics
    /// If Azurite is not installed or does not answer.
    pub fn start() -> Self {
        let (folder, address) = (Folder::new(), SocketAddr::from(([127, 0, 0, 1], free_port())));
        let program = installation().join("node_modules/azurite/dist/src/blob/main.js");
        server::expect_installed(&program);
        let mut node = process::killed_with_parent(Path::new("node"));
        node.arg(program).args(["--silent", "--skipApiVersionCheck", "--disableTelemetry", "--blobHost", "127.0.0.1"]);
        node.args(["--blobPort", &address.port().to_string(), "--location"]).arg(folder.path());
        node.stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = process::spawn(node).unwrap();
        server::wait(address, &mut server);
        Self { server, address, _folder: folder }
    }

    /// Returns the URL of the account.
    pub fn endpoint(&self) -> String {
        format!("http://{}/{ACCOUNT}", self.address)
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        server::kill(&mut self.server);
    }
}
