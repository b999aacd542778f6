//! The settings as they are written, and what they come to.

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
        /// The most that is sent in a second, such as `"10MiB"`.
        pub max_rate: Option<Rate>,
        /// How long nothing may move before a transfer is tried again, such as `"2min"`.
        #[serde(default = "patience")]
        pub timeout: longshore_ssh::settings::Wait,
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

fn patience() -> longshore_ssh::settings::Wait {
    longshore_ssh::settings::Wait::of_seconds(120)
}

/// A number of bytes a second, written with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Rate(u64);

/// The units of a [`Rate`], and the bytes of each.
const UNITS: [(&str, u64); 6] =
    [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("kB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000)];

impl Rate {
    /// As rsync takes it: in KiB a second, at least one.
    pub(crate) fn kibibytes(self) -> u64 {
        (self.0 >> 10).max(1)
    }
}

impl TryFrom<String> for Rate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let scale = UNITS.iter().find(|(name, _)| *name == unit.trim_start());
        let bytes = number.parse::<u64>().ok().zip(scale).and_then(|(number, (_, scale))| scale.checked_mul(number));
        match bytes {
            Some(bytes @ 1..) => Ok(Self(bytes)),
            _ => Err(format!("\"{text}\" is not a rate: write the bytes a second with their unit, such as \"10MiB\"")),
        }
    }
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
        assert!(error.contains("pfad") && error.contains("spool_dir") && error.contains("max_rate"), "{error}");
    }

    #[test]
    fn a_rate_is_a_whole_number_with_a_unit() {
        for (text, kibibytes) in [("10MiB", 10 << 10), ("1 GB", 976_562), ("100kB", 97), ("1kB", 1)] {
            assert_eq!(Rate::try_from(text.to_owned()).unwrap().kibibytes(), kibibytes, "{text}");
        }
        for bad in ["", "10", "0MiB", "MiB", "1.5MiB", "10Mbit"] {
            assert!(Rate::try_from(bad.to_owned()).unwrap_err().contains("rate"), "{bad}");
        }
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
