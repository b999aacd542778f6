//! What `ssh` says, and what it means.

use longshore_core::{Error, Kind, Stage};

/// What is said where the connection could not be made: what to decide by, what to tell, and the way out.
const MEANINGS: [(&str, Kind, &str, &str); 15] = [
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", Kind::Denied, "the host's key is not the one that is known", CHANGED),
    ("Host key verification failed", Kind::Denied, "the host's key is not known", UNKNOWN),
    ("host key is known", Kind::Denied, "the host's key is not known", UNKNOWN),
    ("Permission denied (", Kind::Denied, "the host refuses the key", REFUSED),
    ("Too many authentication failures", Kind::Denied, "the host refuses the keys that were offered", REFUSED),
    ("UNPROTECTED PRIVATE KEY FILE", Kind::Denied, "others may read the private key", "take that away: chmod 600"),
    ("Bad configuration option", Kind::Usage, "ssh does not understand its configuration", CONFIGURATION),
    ("Bad owner or permissions on", Kind::Usage, "ssh refuses its configuration", CONFIGURATION),
    ("Can't open user config file", Kind::Usage, "ssh cannot read config_file", CONFIGURATION),
    (
        "Could not resolve hostname",
        Kind::Unavailable,
        "nobody knows this host",
        "see whether host is written rightly, and DNS",
    ),
    // What ssh says of a connection that another ssh was to bring about; that one speaks past us.
    ("UNKNOWN port 65535", Kind::Unavailable, "a host on the way did not let it through", WAY),
    ("Connection refused", Kind::Unavailable, "nobody listens there", LISTENS),
    ("timed out", Kind::Unavailable, "the host does not answer", LISTENS),
    ("No route to host", Kind::Unavailable, "there is no way to the host", LISTENS),
    ("Network is unreachable", Kind::Unavailable, "there is no way to the host", LISTENS),
];

const CHANGED: &str = "somebody may stand between you and the host, or it was installed anew: ask whoever runs it; only if they confirm the new key, \
     remove the old one (ssh-keygen -R HOST) and add the new one";
const UNKNOWN: &str = "fetch it (ssh-keyscan HOST), compare its fingerprint (ssh-keygen -lf FILE) with what the host's owner says, and only then add it \
     to known_hosts";
const REFUSED: &str = "add the public key to ~/.ssh/authorized_keys of the account there, or set identity_file; `ssh -v` tells what is tried";
const LISTENS: &str =
    "see whether the host is up, sshd runs there, and host, port and firewalls are right; `ssh -v` tells more";
const WAY: &str = "see whether the hosts of jump, or of ProxyJump in ~/.ssh/config, are up, known to known_hosts there, and take the key that ~/.ssh/config has for them; \
     `ssh -v` tells which refuses";
const CONFIGURATION: &str = "mend what is named below, or set config_file to another";

/// What it means that the connection could not be made: `said` is what ssh wrote.
pub fn connecting(host: &str, said: &str) -> Error {
    let meaning = MEANINGS.iter().find(|(words, ..)| said.contains(words));
    let (kind, message, hint) = match meaning {
        Some((_, kind, message, hint)) => (*kind, *message, *hint),
        None => (Kind::Unavailable, "cannot connect", LISTENS),
    };
    let error = Error::new(Stage::Ship, kind, host, message).hint(hint);
    if said.trim().is_empty() { error } else { error.because(last_lines(said)) }
}

/// A connection that broke while it was used.
pub fn lost(host: &str) -> Error {
    Error::new(Stage::Ship, Kind::Unavailable, host, "the connection was lost").hint(LISTENS)
}

/// What is said of a file: what to decide by, what to tell, and the way out.
const TROUBLES: [(&str, Kind, &str, &str); 6] = [
    ("No space left on device", Kind::Failed, "no space left on the file system", SPACE),
    ("quota exceeded", Kind::Failed, "no space left on the file system for this user: the quota is used up", SPACE),
    (
        "Read-only file system",
        Kind::Failed,
        "the file system is mounted read-only",
        "often after an error: see `dmesg` there",
    ),
    ("File too large", Kind::Failed, "the file system or a limit forbids files this large", "see `ulimit -f` there"),
    (
        "Permission denied",
        Kind::Denied,
        "the account may not do this",
        "give the account the right to write there, or ship to a directory that it owns",
    ),
    (
        "Operation not permitted",
        Kind::Denied,
        "not permitted there",
        "see what the account, its shell and the file system allow",
    ),
];

const SPACE: &str = "free some space there (see `df -h` and `df -i`), keep fewer backups, or ship to a larger disk";
const SHELL: &str = "use type = \"sftp\", which needs none; for an account that rrsync limits, type = \"rsync\" with account = \"rrsync\"; or give the account a \
     shell, whose start-up files print nothing";

/// What is said where a command was not run because the account may not run it.
const SHELLS: [&str; 4] =
    ["sftp connections only", "does not run rsync", "nologin", "account is currently not available"];

/// Whether `said` tells that the account has no shell.
pub fn is_no_shell(said: &str) -> bool {
    SHELLS.iter().any(|words| said.contains(words))
}

/// That the account at `subject` has no shell.
pub fn no_shell(subject: &str, said: &str) -> Error {
    let error = Error::new(Stage::Ship, Kind::Denied, subject, "this account has no POSIX shell").hint(SHELL);
    if said.trim().is_empty() { error } else { error.because(last_lines(said)) }
}

/// What it means that a command on a host failed at `subject`: `said` is what it wrote; `message` serves where nothing better is known.
pub fn there(subject: &str, message: &str, said: &str) -> Error {
    let trouble = TROUBLES.iter().find(|(words, ..)| said.contains(words));
    let error = match trouble {
        Some((_, kind, message, hint)) => Error::new(Stage::Ship, *kind, subject, *message).hint(*hint),
        None => Error::new(Stage::Ship, Kind::Failed, subject, message),
    };
    if said.trim().is_empty() { error } else { error.because(last_lines(said)) }
}

/// The end of what was said, without the frames that ssh draws.
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
