//! The settings.

use std::time::Duration;

use longshore_core::unit::{ByteSize, TimeSpan};
use serde::Deserialize;

longshore_ssh::settings! {
    /// `{ type = "rsync", … }`: a directory that rsync writes to, over SSH.
    ///
    /// The directory is never created, so that an unmounted disk is detected.
    pub struct Rsync {
        /// The absolute path of the directory; for an account restricted by rrsync, relative to its
        /// directory.
        pub path: String,
        /// The permissions of the account.
        #[serde(default)]
        pub account: Account,
        /// The local directory in which ciphertext is stored before rsync sends it; created if
        /// missing.
        pub spool_dir: Option<std::path::PathBuf>,
        /// The maximum rate at which rsync sends, per second, such as `"10MiB"`.
        pub bwlimit: Option<ByteSize>,
        /// The time without progress after which a transfer is retried, such as `"2m"`.
        #[serde(default = "default_timeout")]
        pub timeout: TimeSpan,
    }
}

/// The permissions of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Account {
    /// The account has a POSIX shell.
    #[default]
    Shell,
    /// The account is restricted to rsync in one directory, by `rrsync` in `authorized_keys`.
    Rrsync,
}

fn default_timeout() -> TimeSpan {
    TimeSpan::new(Duration::from_secs(120))
}

#[cfg(test)]
mod tests {
    use longshore_core::Kind;
    use longshore_core::plugin::{Plugin, StoreContext};
    use serde_json::{Value, json};

    use super::*;

    fn read(settings: Value) -> Result<Rsync, String> {
        serde_json::from_value(settings).map_err(|error| error.to_string())
    }

    #[test]
    fn requires_only_host_and_path() {
        let rsync = read(json!({ "host": "backup@backup1", "path": "/srv/backups" })).unwrap();
        assert_eq!((rsync.account, rsync.timeout.duration().as_secs()), (Account::Shell, 120));
        assert!(rsync.build(&StoreContext::default()).is_ok());
    }

    #[test]
    fn unknown_setting_error_lists_known_settings() {
        let error = read(json!({ "host": "a", "path": "/a", "pfad": "x" })).unwrap_err();
        assert!(error.contains("pfad") && error.contains("spool_dir") && error.contains("bwlimit"), "{error}");
    }

    #[test]
    fn invalid_values_name_their_setting() {
        for (wrong, subject) in [
            (json!({ "host": "-v", "path": "/srv" }), "host"),
            (json!({ "host": "a", "path": "srv" }), "path"),
            (json!({ "host": "a", "path": "/srv", "spool_dir": "spool" }), "spool_dir"),
        ] {
            let error = read(wrong).unwrap().build(&StoreContext::default()).map(drop).unwrap_err();
            assert_eq!((error.kind(), error.subject()), (Kind::Usage, subject));
            assert!(error.remedy().is_some());
        }
    }
}
