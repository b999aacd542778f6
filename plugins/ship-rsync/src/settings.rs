//! The settings as they are written, and what they come to.

use std::time::Duration;

use longshore_core::quantity::{Size, Span};
use serde::Deserialize;

longshore_ssh::settings! {
    /// `{ type = "rsync", … }`: a directory that rsync brings files to, over SSH.
    ///
    /// The directory is never made, so that a disk that is not mounted there is noticed.
    pub struct Rsync {
        /// The directory, absolute; for an account that rrsync limits, from its directory on.
        pub path: String,
        /// What the account may do.
        #[serde(default)]
        pub account: Account,
        /// Where ciphertext waits for rsync, on a local disk; made if it is missing.
        pub spool_dir: Option<std::path::PathBuf>,
        /// The most that rsync sends in a second, such as `"10MiB"`.
        pub bwlimit: Option<Size>,
        /// How long nothing may move before a transfer is tried again, such as `"2m"`.
        #[serde(default = "patience")]
        pub timeout: Span,
    }
}

/// What an account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Account {
    /// It has a POSIX shell.
    #[default]
    Shell,
    /// rsync alone, limited to a directory by `rrsync` in `authorized_keys`.
    Rrsync,
}

fn patience() -> Span {
    Span::new(Duration::from_secs(120))
}

#[cfg(test)]
mod tests {
    use longshore_core::Kind;
    use longshore_core::plugin::Plugin;
    use serde_json::{Value, json};

    use super::*;

    fn read(settings: Value) -> Result<Rsync, String> {
        serde_json::from_value(settings).map_err(|error| error.to_string())
    }

    #[test]
    fn a_host_and_a_path_are_enough() {
        let rsync = read(json!({ "host": "backup@backup1", "path": "/srv/backups" })).unwrap();
        assert_eq!((rsync.account, rsync.timeout.duration().as_secs()), (Account::Shell, 120));
        assert!(rsync.build(&()).is_ok());
    }

    #[test]
    fn an_unknown_setting_is_an_error_that_names_the_known_ones() {
        let error = read(json!({ "host": "a", "path": "/a", "pfad": "x" })).unwrap_err();
        assert!(error.contains("pfad") && error.contains("spool_dir") && error.contains("bwlimit"), "{error}");
    }

    #[test]
    fn what_cannot_work_names_its_setting() {
        for (wrong, subject) in [
            (json!({ "host": "-v", "path": "/srv" }), "host"),
            (json!({ "host": "a", "path": "srv" }), "path"),
            (json!({ "host": "a", "path": "/srv", "spool_dir": "spool" }), "spool_dir"),
        ] {
            let error = read(wrong).unwrap().build(&()).map(drop).unwrap_err();
            assert_eq!((error.kind(), error.subject()), (Kind::Usage, subject));
            assert!(error.remedy().is_some());
        }
    }
}
