//! The conversion of the messages of `ssh` and of remote commands to errors.

use longshore_core::{Error, Kind, Stage};

/// Messages of a failed connection: a fragment of ssh's message, then kind, message and hint of the
/// error.
const CONNECT_ERRORS: [(&str, Kind, &str, &str); 15] = [
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", Kind::Denied, "the host key has changed", KEY_CHANGED_HINT),
    ("Host key verification failed", Kind::Denied, "the host key is unknown", UNKNOWN_KEY_HINT),
    ("host key is known", Kind::Denied, "the host key is unknown", UNKNOWN_KEY_HINT),
    ("Permission denied (", Kind::Denied, "the host rejects the key", KEY_REJECTED_HINT),
    ("Too many authentication failures", Kind::Denied, "the host rejects the offered keys", KEY_REJECTED_HINT),
    (
        "UNPROTECTED PRIVATE KEY FILE",
        Kind::Denied,
        "the private key is readable by other users",
        "run `chmod 600` on the key file",
    ),
    ("Bad configuration option", Kind::Usage, "invalid ssh configuration", CONFIGURATION_HINT),
    (
        "Bad owner or permissions on",
        Kind::Usage,
        "ssh rejects the permissions of its configuration",
        CONFIGURATION_HINT,
    ),
    ("Can't open user config file", Kind::Usage, "ssh cannot read config_file", CONFIGURATION_HINT),
    ("Could not resolve hostname", Kind::Unavailable, "cannot resolve the host name", "check the host name and DNS"),
    // ssh reports this if a jump host fails; the process for the jump host does not write to our
    // log.
    ("UNKNOWN port 65535", Kind::Unavailable, "a jump host on the way refused the connection", JUMP_HOST_HINT),
    (
        "Connection refused",
        Kind::Unavailable,
        "connection refused: no SSH server listens on the port",
        UNREACHABLE_HINT,
    ),
    ("timed out", Kind::Unavailable, "the host does not answer", UNREACHABLE_HINT),
    ("No route to host", Kind::Unavailable, "no route to the host", UNREACHABLE_HINT),
    ("Network is unreachable", Kind::Unavailable, "no route to the host", UNREACHABLE_HINT),
];

const KEY_CHANGED_HINT: &str = "this may be an attack or a reinstalled host: ask the host's administrator; only if the new key is confirmed, \
     remove the old key (ssh-keygen -R HOST) and add the new one";
const UNKNOWN_KEY_HINT: &str = "fetch the key (ssh-keyscan HOST), compare its fingerprint (ssh-keygen -lf FILE) with the one from the host's administrator, \
     and only then add the key to known_hosts";
const KEY_REJECTED_HINT: &str = "add the public key to ~/.ssh/authorized_keys of the account there, or set identity_file; run `ssh -v` to see which keys are tried";
const UNREACHABLE_HINT: &str = "check that the host is up, that sshd runs there, and that host, port and firewalls are right; run `ssh -v` for details";
const JUMP_HOST_HINT: &str = "check that the hosts of jump, or of ProxyJump in ~/.ssh/config, are up, are in known_hosts, and accept the key that ~/.ssh/config has for them; \
     run `ssh -v` to see which host refuses";
const CONFIGURATION_HINT: &str = "correct the configuration, or set config_file to another file";

/// Returns the error for a connection that could not be made. `output` is the output of ssh.
pub fn not_connected(host: &str, output: &str) -> Error {
    let known = CONNECT_ERRORS.iter().find(|(fragment, ..)| output.contains(fragment));
    let (kind, message, hint) = match known {
        Some((_, kind, message, hint)) => (*kind, *message, *hint),
        None => (Kind::Unavailable, "cannot connect", UNREACHABLE_HINT),
    };
    let error = Error::new(Stage::Ship, kind, host, message).hint(hint);
    if output.trim().is_empty() { error } else { error.because(last_lines(output)) }
}

/// Returns the error for a connection that was lost.
pub fn connection_lost(host: &str) -> Error {
    Error::new(Stage::Ship, Kind::Unavailable, host, "the connection was lost").hint(UNREACHABLE_HINT)
}

/// Messages of a failed command: a fragment of the output, then kind, message and hint of the
/// error.
const COMMAND_ERRORS: [(&str, Kind, &str, &str); 6] = [
    ("No space left on device", Kind::Failed, "no space left on the file system", NO_SPACE_HINT),
    (
        "quota exceeded",
        Kind::Failed,
        "no space left on the file system for this user: the quota is used up",
        NO_SPACE_HINT,
    ),
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

const NO_SPACE_HINT: &str =
    "free some space there (see `df -h` and `df -i`), keep fewer backups, or ship to a larger disk";
const NO_SHELL_HINT: &str = "use type = \"sftp\", which needs no shell; for an account restricted by rrsync, use type = \"rsync\" with account = \"rrsync\"; or give the \
     account a shell whose startup files print nothing";

/// Messages of accounts that may not run commands.
const NO_SHELL_MESSAGES: [&str; 4] =
    ["sftp connections only", "does not run rsync", "nologin", "account is currently not available"];

/// Returns true if the output shows that the account has no shell.
pub fn is_no_shell(output: &str) -> bool {
    NO_SHELL_MESSAGES.iter().any(|fragment| output.contains(fragment))
}

/// Returns the error for an account without a shell.
pub fn no_shell(subject: &str, output: &str) -> Error {
    let error = Error::new(Stage::Ship, Kind::Denied, subject, "this account has no POSIX shell").hint(NO_SHELL_HINT);
    if output.trim().is_empty() { error } else { error.because(last_lines(output)) }
}

/// Returns the error for a failed command. `output` is its output; `message` is used if the output
/// is not known.
pub fn command_failed(subject: &str, message: &str, output: &str) -> Error {
    let known = COMMAND_ERRORS.iter().find(|(fragment, ..)| output.contains(fragment));
    let error = match known {
        Some((_, kind, message, hint)) => Error::new(Stage::Ship, *kind, subject, *message).hint(*hint),
        None => Error::new(Stage::Ship, Kind::Failed, subject, message),
    };
    if output.trim().is_empty() { error } else { error.because(last_lines(output)) }
}

/// Returns the last lines of a message, without ssh's frames.
fn last_lines(output: &str) -> String {
    let lines: Vec<_> =
        output.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("@@")).collect();
    lines[lines.len().saturating_sub(5)..].join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classifies_messages_of_ssh() {
        for (output, kind) in [
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
            let error = not_connected("backup1", output);
            assert_eq!(error.kind(), kind, "{output}");
            assert!(error.remedy().is_some());
        }
        let changed =
            not_connected("backup1", "WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!\nHost key verification failed.");
        assert!(changed.remedy().unwrap().contains("ssh-keygen -R"), "{changed:?}");
    }
}
