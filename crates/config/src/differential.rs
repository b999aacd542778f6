//! The setting `differential` of a job: dumps stored as differences between two full ones.

use chrono::TimeDelta;
use longshore_core::difference::{MAX_BLOCK_BYTES, MIN_BLOCK_BYTES};
use longshore_core::unit::{ByteSize, TimeSpan};
use serde::Deserialize;

use crate::incremental::{ParentUnseen, full_age};

/// The settings of dumps that are stored as differences.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Differential {
    /// The time between two full dumps of a database.
    full_every: TimeSpan,
    /// The size of the compared blocks, from 128 B to 64 KiB. Smaller ones make smaller
    /// differences, but more digests in state_dir: 16 bytes a block.
    #[serde(default = "default_block")]
    block: ByteSize,
    /// The kind of backup if a destination does not show the full backup.
    #[serde(default)]
    pub parent_unseen: ParentUnseen,
}

fn default_block() -> ByteSize {
    ByteSize::new(384)
}

impl Differential {
    /// Checks the settings. Returns a message about the first mistake.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.full_every.duration().is_zero() {
            return Err("full_every must be longer than zero, such as \"7d\"".to_owned());
        }
        if !(u64::from(MIN_BLOCK_BYTES)..=u64::from(MAX_BLOCK_BYTES)).contains(&self.block.bytes()) {
            return Err("block must be from 128B to 64KiB, such as \"384B\"".to_owned());
        }
        Ok(())
    }

    /// Returns the age at which a full backup no longer gets differences. A little less than
    /// `full_every`: the runs of a daily schedule do not start on the second.
    pub fn full_age(&self) -> TimeDelta {
        full_age(&self.full_every)
    }

    /// Returns the size of the compared blocks in bytes.
    pub fn block_bytes(&self) -> u32 {
        u32::try_from(self.block.bytes()).unwrap_or(MAX_BLOCK_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(toml: &str) -> Result<Differential, toml::de::Error> {
        toml::from_str(toml)
    }

    #[test]
    fn blocks_have_384_bytes_by_default() {
        let settings = parse("full_every = '7d'").unwrap();
        assert_eq!((settings.block_bytes(), settings.parent_unseen), (384, ParentUnseen::Full));
        assert_eq!(settings.full_age(), TimeDelta::days(7) - TimeDelta::hours(1));
        let settings = parse("full_every = '1d'\nblock = '1KiB'\nparent_unseen = 'trust'").unwrap();
        settings.check().unwrap();
        assert_eq!((settings.block_bytes(), settings.parent_unseen), (1024, ParentUnseen::Trust));
    }

    #[test]
    fn mistakes_are_rejected() {
        for toml in ["", "full_every = 7", "full_every = '7d'\nblock = 'x'", "full_every = '7d'\nmax_incrementals = 3"]
        {
            parse(toml).unwrap_err();
        }
        for (toml, word) in [
            ("full_every = '0d'", "full_every"),
            ("full_every = '7d'\nblock = '64B'", "block"),
            ("full_every = '7d'\nblock = '1MiB'", "block"),
        ] {
            assert!(parse(toml).unwrap().check().unwrap_err().contains(word), "{toml}");
        }
    }
}
