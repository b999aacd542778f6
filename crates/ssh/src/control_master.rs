//! The `ssh` process that makes a host's connection and shares it. It is killed if its caller is
//! dropped before the connection is made.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::{Duration, Instant};

use longshore_core::child_log::ChildLog;
use longshore_core::{Error, Kind, Result, Stage};
use openssh::Session;
use tokio::process::Command;

use crate::failure;
use crate::settings::ConnectOptions;

/// The longest interval between keepalive messages.
const MAX_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// The maximum number of unanswered keepalive messages.
const MAX_KEEPALIVES: u64 = 3;
/// The time after which an idle connection ends if this process died without closing it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The additional time for authentication.
const AUTHENTICATION_TIMEOUT: Duration = Duration::from_secs(60);

/// Connects. The socket is in a private folder: openssh deletes other sockets in a shared folder.
///
/// ssh runs in the background after it has connected. Until then it is a child process that is
/// killed if the caller is dropped, so a silent host does not delay an interruption.
pub(crate) async fn connect(options: &ConnectOptions) -> Result<Session> {
    let sockets = tempfile::Builder::new().prefix("longshore-ssh-").tempdir();
    let sockets = sockets
        .map_err(|error| Error::io(Stage::Ship, &options.host, "cannot create a folder for the connection", error))?;
    // The openssh crate expects these names.
    let log = sockets.path().join("log");
    let mut ssh = Command::new("ssh");
    ssh.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    ssh.arg("-E").arg(&log).arg("-S").arg(sockets.path().join("master")).args(["-M", "-f", "-N"]);
    ssh.args(["-o", &format!("ControlPersist={}s", IDLE_TIMEOUT.as_secs())])
        .args(ssh_arguments(options))
        .arg(&options.host);
    let limit = (options.connect_timeout + AUTHENTICATION_TIMEOUT).min(options.stall_timeout);
    let (host, started) = (options.host.as_str(), Instant::now());
    tracing::info!(target: "longshore::ssh", host, "connecting");
    let mut child = ssh.spawn().map_err(|error| start_error(options, error))?;
    let child_log = ChildLog::started("ssh", child.id());
    let Ok(status) = tokio::time::timeout(limit, child.wait()).await else {
        child_log.aborted();
        return Err(failure::not_connected(host, "timed out"));
    };
    let status = status.map_err(|error| start_error(options, error))?;
    child_log.ended(status);
    if status.success() {
        tracing::info!(target: "longshore::ssh", host, elapsed = ?started.elapsed(), "connected");
        return Ok(Session::new_native_mux(sockets));
    }
    let log_text = std::fs::read(&log).unwrap_or_default();
    let log_text = String::from_utf8_lossy(&log_text).trim().to_owned();
    Err(failure::not_connected(&options.host, log_text.strip_prefix("ssh: ").unwrap_or(&log_text)))
}

/// Returns the arguments with which ssh connects to the host.
pub(crate) fn ssh_arguments(options: &ConnectOptions) -> Vec<OsString> {
    let (seconds, count) = keepalive(options.stall_timeout);
    let connect_timeout = options.connect_timeout.min(options.stall_timeout).as_secs().max(1);
    let mut keywords = vec![
        "BatchMode=yes".to_owned(),
        "StrictHostKeyChecking=yes".to_owned(),
        format!("ConnectTimeout={connect_timeout}"),
        format!("ServerAliveInterval={seconds}"),
        format!("ServerAliveCountMax={count}"),
    ];
    keywords.extend(options.known_hosts_file.iter().map(|file| format!("UserKnownHostsFile={}", file.display())));
    keywords.extend(options.identity_file.iter().map(|_| "IdentitiesOnly=yes".to_owned()));
    let mut arguments: Vec<OsString> =
        keywords.into_iter().flat_map(|keyword| ["-o".to_owned(), keyword]).map(OsString::from).collect();
    let files = [("-i", &options.identity_file), ("-F", &options.config_file)];
    arguments
        .extend(files.into_iter().filter_map(|(letter, file)| Some([letter.into(), file.clone()?.into()])).flatten());
    arguments.extend(options.port.iter().flat_map(|port| ["-p".into(), port.to_string().into()]));
    if !options.jump.is_empty() {
        arguments.extend(["-J".into(), options.jump.join(",").into()]);
    }
    arguments
}

/// Returns the interval of keepalive messages, in seconds, and the number that may stay unanswered,
/// so that a silent connection ends about when `limit` has passed, or before.
fn keepalive(limit: Duration) -> (u64, u64) {
    let seconds = (limit.as_secs() / (MAX_KEEPALIVES + 1)).clamp(1, MAX_KEEPALIVE_INTERVAL.as_secs());
    let count = (limit.as_secs() / seconds).saturating_sub(1).clamp(1, MAX_KEEPALIVES);
    (seconds, count)
}

fn start_error(options: &ConnectOptions, error: std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::NotFound {
        return Error::new(Stage::Config, Kind::Usage, "ssh", "cannot start ssh: it is not installed")
            .hint("install OpenSSH's client (Debian: openssh-client)")
            .because(error);
    }
    Error::io(Stage::Ship, &options.host, "cannot start ssh", error).hint("check that ssh can run on this host")
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn keepalive_ends_within_stall_timeout() {
        for (limit, expected) in [(1, (1, 1)), (2, (1, 1)), (4, (1, 3)), (10, (2, 3)), (60, (15, 3)), (600, (15, 3))] {
            let (seconds, count) = keepalive(Duration::from_secs(limit));
            assert_eq!((seconds, count), expected, "{limit}");
            assert!(seconds * (count + 1) <= limit.max(2), "{limit}");
        }
    }

    #[tokio::test]
    async fn dropped_connect_ends_ssh() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        let options = ConnectOptions {
            host: "127.0.0.1".to_owned(),
            port: Some(port),
            identity_file: None,
            known_hosts_file: None,
            config_file: None,
            jump: Vec::new(),
            connect_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(600),
        };
        let result = tokio::time::timeout(Duration::from_secs(1), connect(&options)).await;
        assert!(result.is_err(), "it does not answer");
        let port_argument = format!("\0-p\0{port}\0");
        let is_running = || {
            let processes = std::fs::read_dir("/proc").unwrap().flatten();
            processes
                .map(|process| std::fs::read(process.path().join("cmdline")).unwrap_or_default())
                .any(|line| line.windows(port_argument.len()).any(|window| window == port_argument.as_bytes()))
        };
        for _ in 0..50 {
            if !is_running() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("ssh is still running");
    }
}
