//! The conversion of the messages of `ssh` and of remote commands to errors.

use longshore_core::{Error, Kind, Stage};

/// Messages of a failed connection: a fragment of ssh's message, then kind, message and hint of the
/// error.
const MEANINGS: [(&str, Kind, &str, &str); 15] = [
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", Kind::Denied, "the host key has changed", CHANGED),
    ("Host key verification failed", Kind::Denied, "the host key is unknown", UNKNOWN),
    ("host key is known", Kind::Denied, "the host key is unknown", UNKNOWN),
    ("Permission denied (", Kind::Denied, "the host rejects the key", REFUSED),
    ("Too many authentication failures", Kind::Denied, "the host rejects the offered keys", REFUSED),
    (
        "UNPROTECTED PRIVATE KEY FILE",
        Kind::Denied,
        "the private key is readable by other users",
        "run `chmod 600` on the key file",
    ),
    ("Bad configuration option", Kind::Usage, "invalid ssh configuration", CONFIGURATION),
    ("Bad owner or permissions on", Kind::Usage, "ssh rejects the permissions of its configuration", CONFIGURATION),
    ("Can't open user config file", Kind::Usage, "ssh cannot read config_file", CONFIGURATION),
    ("Could not resolve hostname", Kind::Unavailable, "cannot resolve the host name", "check the host name and DNS"),
    // ssh reports this if a jump host fails; the process for the jump host does not write to our
    // log.
    ("UNKNOWN port 65535", Kind::Unavailable, "a jump host on the way refused the connection", WAY),
    ("Connection refused", Kind::Unavailable, "connection refused: no SSH server listens on the port", LISTENS),
    ("timed out", Kind::Unavailable, "the host does not answer", LISTENS),
    ("No route to host", Kind::Unavailable, "no route to the host", LISTENS),
    ("Network is unreachable", Kind::Unavailable, "no route to the host", LISTENS),
];

const CHANGED: &str = "this may be an attack or a reinstalled host: ask the host's administrator; only if the new key is confirmed, \
     remove the old key (ssh-keygen -R HOST) and add the new one";
const UNKNOWN: &str = "fetch the key (ssh-keyscan HOST), compare its fingerprint (ssh-keygen -lf FILE) with the one from the host's administrator, \
     and only then add the key to known_hosts";
const REFUSED: &str = "add the public key to ~/.ssh/authorized_keys of the account there, or set identity_file; run `ssh -v` to see which keys are tried";
const LISTENS: &str = "check that the host is up, that sshd runs there, and that host, port and firewalls are right; run `ssh -v` for details";
const WAY: &str = "check that the hosts of jump, or of ProxyJump in ~/.ssh/config, are up, are in known_hosts, and accept the key that ~/.ssh/config has for them; \
     run `ssh -v` to see which host refuses";
const CONFIGURATION: &str = "correct the configuration, or set config_file to another file";

/// Returns the error for a connection that could not be made. `said` is the output of ssh.
pub fn connecting(host: &str, said: &str) -> Error {
    let meaning = MEANINGS.iter().find(|(words, ..)| said.contains(words));
    let (kind, message, hint) = match meaning {
        Some((_, kind, message, hint)) => (*kind, *message, *hint),
        None => (Kind::Unavailable, "cannot connect", LISTENS),
    };
    let error = Error::new(Stage::Ship, kind, host, message).hint(hint);
    if said.trim().is_empty() { error } else { error.because(last_lines(said)) }
}

/// Returns the error for a connection that was lost.
pub fn lost(host: &str) -> Error {
    Error::new(Stage::Ship, Kind::Unavailable, host, "the connection was lost").hint(LISTENS)
}

/// Messages of a failed command: a fragment of the output, then kind, message and hint of the
/// error.
const TROUBLES: [(&str, Kind, &str, &str); 6] = [
    ("No space left on device", Kind::Failed, "no space left on the file system", SPACE),
    ("quota exceeded", Kind::Failed, "no space left on the file system for this user: the quota is used up", SPACE),
    (
        "Read-only file system",
        Kind::Failed,
        "the file system is mounted read-only",
        "check `dmesg` there: the cause is often a disk error",
    ),
    ("File too large", Kind::Failed, "the file system or a limit forbids files this large", "check `ulimit -f` there"),
    (
        "Permission denied",
        Kind::Denied,
        "the account lacks permission",
        "grant the account write access, or use a directory that it owns",
    ),
    (
        "Operation not permitted",
        Kind::Denied,
        "not permitted on the host",
        "check the restrictions of the account, its shell and the file system",
    ),
];

const SPACE: &str = "free some space there (see `df -h` and `df -i`), keep fewer backups, or ship to a larger disk";
const SHELL: &str = "use type = \"sftp\", which needs no shell; for an account restricted by rrsync, use type = \"rsync\" with account = \"rrsync\"; or give the \
     account a shell whose startup files print nothing";

/// Messages of accounts that may not run commands.
const SHELLS: [&str; 4] =
    ["sftp connections only", "does not run rsync", "nologin", "account is currently not available"];

/// Returns true if the output shows that the account has no shell.
pub fn is_no_shell(said: &str) -> bool {
    SHELLS.iter().any(|words| said.contains(words))
}

/// Returns the error for an account without a shell.
pub fn no_shell(subject: &str, said: &str) -> Error {
    let error = Error::new(Stage::Ship, Kind::Denied, subject, "this account has no POSIX shell").hint(SHELL);
    if said.trim().is_empty() { error } else { error.because(last_lines(said)) }
}

/// Returns the error for a failed command. `said` is its output; `message` is used if the output is
/// not known.
pub fn there(subject: &str, message: &str, said: &str) -> Error {
    let trouble = TROUBLES.iter().find(|(words, ..)| said.contains(words));
    let error = match trouble {
        Some((_, kind, message, hint)) => Error::new(Stage::Ship, *kind, subject, *message).hint(*hint),
        None => Error::new(Stage::Ship, Kind::Failed, subject, message),
    };
    if said.trim().is_empty() { error } else { error.because(last_lines(said)) }
}

/// Returns the last lines of a message, without ssh's frames.
fn last_lines(said: &str) -> String {
    let lines: Vec<_> =
        said.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("@@")).collect();
    lines[lines.len().saturating_sub(5)..].join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ssh_says_becomes_a_decision() {
        for (said, kind) in [
            (
                "No ED25519 host key is known for [127.0.0.1]:2222 and you have requested strict checking.\r\nHost key verification failed.",
                Kind::Denied,
            ),
            (
                "@@@@@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
                Kind::Denied,
            ),
            ("backup@backup1: Permission denied (publickey).", Kind::Denied),
            ("connect to host 127.0.0.1 port 9: Connection refused", Kind::Unavailable),
            ("Could not resolve hostname nowhere.invalid: Name or service not known", Kind::Unavailable),
            (
                "kex_exchange_identification: Connection closed\nConnection closed by UNKNOWN port 65535",
                Kind::Unavailable,
            ),
            ("Connection timed out during banner exchange", Kind::Unavailable),
            ("kex_exchange_identification: Connection closed by remote host", Kind::Unavailable),
            ("/etc/x: line 1: Bad configuration option: nonsense", Kind::Usage),
        ] {
            let error = connecting("backup1", said);
            assert_eq!(error.kind(), kind, "{said}");
            assert!(error.remedy().is_some());
        }
        let changed =
            connecting("backup1", "WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!\nHost key verification failed.");
        assert!(changed.remedy().unwrap().contains("ssh-keygen -R"), "{changed:?}");
    }
}
