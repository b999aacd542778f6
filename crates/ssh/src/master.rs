//! The `ssh` process that makes a host's connection and shares it. It is killed if its caller is
//! dropped before the connection is made.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use longshore_core::{Error, Kind, Result, Stage};
use openssh::Session;
use tokio::process::Command;

use crate::failure;
use crate::settings::Reach;

/// The longest interval between keepalive messages.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// The maximum number of unanswered keepalive messages.
const SIGNS: u64 = 3;
/// The time after which an idle connection ends if this process died without closing it.
const IDLE: Duration = Duration::from_secs(30);
/// The additional time for authentication.
const PROOF: Duration = Duration::from_secs(60);

/// Connects. The socket is in a private folder: openssh deletes other sockets in a shared folder.
///
/// ssh runs in the background after it has connected. Until then it is a child process that is
/// killed if the caller is dropped, so a silent host does not delay an interruption.
pub(crate) async fn connect(reach: &Reach) -> Result<Session> {
    let sockets = tempfile::Builder::new().prefix("longshore-ssh-").tempdir();
    let sockets = sockets
        .map_err(|error| Error::io(Stage::Ship, &reach.host, "cannot create a folder for the connection", error))?;
    // The openssh crate expects these names.
    let log = sockets.path().join("log");
    let mut ssh = Command::new("ssh");
    ssh.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    ssh.arg("-E").arg(&log).arg("-S").arg(sockets.path().join("master")).args(["-M", "-f", "-N"]);
    ssh.args(["-o", &format!("ControlPersist={}s", IDLE.as_secs())]).args(options(reach)).arg(&reach.host);
    let limit = (reach.connect_timeout + PROOF).min(reach.stall_timeout);
    let ended = tokio::time::timeout(limit, ssh.status()).await;
    let ended = ended.map_err(|_| failure::connecting(&reach.host, "timed out"))?;
    if ended.map_err(|error| unstarted(reach, error))?.success() {
        return Ok(Session::new_native_mux(sockets));
    }
    let said = std::fs::read(&log).unwrap_or_default();
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    Err(failure::connecting(&reach.host, said.strip_prefix("ssh: ").unwrap_or(&said)))
}

/// Returns the options with which ssh reaches the host.
pub(crate) fn options(reach: &Reach) -> Vec<OsString> {
    let (seconds, signs) = signs_of_life(reach.stall_timeout);
    let connect_timeout = reach.connect_timeout.min(reach.stall_timeout).as_secs().max(1);
    let mut options = vec![
        "BatchMode=yes".to_owned(),
        "StrictHostKeyChecking=yes".to_owned(),
        format!("ConnectTimeout={connect_timeout}"),
        format!("ServerAliveInterval={seconds}"),
        format!("ServerAliveCountMax={signs}"),
    ];
    options.extend(reach.known_hosts_file.iter().map(|file| format!("UserKnownHostsFile={}", file.display())));
    options.extend(reach.identity_file.iter().map(|_| "IdentitiesOnly=yes".to_owned()));
    let mut words: Vec<OsString> =
        options.into_iter().flat_map(|option| ["-o".to_owned(), option]).map(OsString::from).collect();
    let files = [("-i", &reach.identity_file), ("-F", &reach.config_file)];
    words.extend(files.into_iter().filter_map(|(letter, file)| Some([letter.into(), file.clone()?.into()])).flatten());
    words.extend(reach.port.iter().flat_map(|port| ["-p".into(), port.to_string().into()]));
    if !reach.jump.is_empty() {
        words.extend(["-J".into(), reach.jump.join(",").into()]);
    }
    words
}

/// Returns the interval of keepalive messages, in seconds, and the number that may stay unanswered,
/// so that a silent connection ends about when `limit` has passed, or before.
fn signs_of_life(limit: Duration) -> (u64, u64) {
    let seconds = (limit.as_secs() / (SIGNS + 1)).clamp(1, SIGN_OF_LIFE.as_secs());
    let signs = (limit.as_secs() / seconds).saturating_sub(1).clamp(1, SIGNS);
    (seconds, signs)
}

fn unstarted(reach: &Reach, error: std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::NotFound {
        return Error::new(Stage::Config, Kind::Usage, "ssh", "cannot start ssh: it is not installed")
            .hint("install OpenSSH's client (Debian: openssh-client)")
            .because(error);
    }
    Error::io(Stage::Ship, &reach.host, "cannot start ssh", error).hint("check that ssh can run on this host")
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn signs_of_life_end_within_the_stall_timeout() {
        for (limit, expected) in [(1, (1, 1)), (2, (1, 1)), (4, (1, 3)), (10, (2, 3)), (60, (15, 3)), (600, (15, 3))] {
            let (seconds, signs) = signs_of_life(Duration::from_secs(limit));
            assert_eq!((seconds, signs), expected, "{limit}");
            assert!(seconds * (signs + 1) <= limit.max(2), "{limit}");
        }
    }

    #[tokio::test]
    async fn a_silent_host_is_left_at_once_and_no_ssh_stays() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        let reach = Reach {
            host: "127.0.0.1".to_owned(),
            port: Some(port),
            identity_file: None,
            known_hosts_file: None,
            config_file: None,
            jump: Vec::new(),
            connect_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(600),
        };
        let left = tokio::time::timeout(Duration::from_secs(1), connect(&reach)).await;
        assert!(left.is_err(), "it does not answer");
        let words = format!("\0-p\0{port}\0");
        let is_left = || {
            let processes = std::fs::read_dir("/proc").unwrap().flatten();
            processes
                .map(|process| std::fs::read(process.path().join("cmdline")).unwrap_or_default())
                .any(|line| line.windows(words.len()).any(|window| window == words.as_bytes()))
        };
        for _ in 0..50 {
            if !is_left() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("ssh is still at work");
    }
}
