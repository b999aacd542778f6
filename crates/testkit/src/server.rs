//! Helpers for temporary servers: checks that programs are installed, waits for answers, and kills
//! servers.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

/// The time limit for a server to answer.
const START: Duration = Duration::from_secs(60);

/// Panics if a program is not installed.
#[track_caller]
pub(crate) fn expect_installed(program: &Path) {
    assert!(program.exists(), "{} is missing: run `cargo xtask test`, which installs it", program.display());
}

/// Waits until a server answers.
#[track_caller]
pub(crate) fn wait(address: SocketAddr, server: &mut Child) {
    let deadline = Instant::now() + START;
    while TcpStream::connect(address).is_err() {
        let ended = server.try_wait().unwrap();
        assert!(ended.is_none(), "the server at {address} ended: {ended:?}");
        assert!(Instant::now() < deadline, "the server at {address} did not answer within {START:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Kills a server. Its data is not needed any more.
pub(crate) fn kill(server: &mut Child) {
    server.kill().ok();
    server.wait().ok();
}
