//! What throwaway stores have in common: they are there or not, they answer after a while, they go.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

/// How long a server may take to answer.
const START: Duration = Duration::from_secs(60);

/// That a program is there.
#[track_caller]
pub(crate) fn expect(program: &Path) {
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

/// Ends a server at once: nothing of it is to survive.
pub(crate) fn kill(server: &mut Child) {
    server.kill().ok();
    server.wait().ok();
}
