//! The configuration as written: all settings except those of plugins. Unknown settings are errors.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::TimeDelta;
use chrono_tz::Tz;
use longshore_core::compress::{Compression, DEFAULT_LEVEL};
use longshore_core::plugin::CompressBy;
use longshore_core::store::{MaxRate, RateLimiter, STALL_TIMEOUT, StoreSettings};
use longshore_core::terms::MaxAge;
use longshore_core::unit::TimeSpan;
use longshore_retention::zone;
use secrecy::SecretString;
use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};

use crate::error::quote_unless_secret;
use crate::incremental::Incremental;

/// The default for `orphan_grace`: no run takes as long, and no clock is as wrong.
const ORPHAN_GRACE: TimeDelta = TimeDelta::hours(48);

/// The top of the file. The sections are read one by one; their names are fields so that the error
/// about an unknown section lists them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Top {
    pub(crate) lock_dir: Option<PathBuf>,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) metrics_file: Option<PathBuf>,
    #[serde(rename = "identity")]
    _identity: Option<IgnoredAny>,
    #[serde(rename = "cluster")]
    _cluster: Option<IgnoredAny>,
    #[serde(rename = "destination")]
    _destination: Option<IgnoredAny>,
    #[serde(rename = "retention")]
    _retention: Option<IgnoredAny>,
    #[serde(rename = "adopt")]
    _adopt: Option<IgnoredAny>,
    #[serde(rename = "job")]
    _job: Option<IgnoredAny>,
    #[serde(rename = "notify")]
    _notify: Option<IgnoredAny>,
    #[serde(rename = "serve")]
    _serve: Option<IgnoredAny>,
}

/// `[cluster.NAME]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cluster {
    #[serde(default = "empty_connection")]
    pub(crate) connection: SecretString,
    pub(crate) bin_dir: Option<PathBuf>,
    #[serde(default)]
    pub(crate) pause_replay: bool,
}

/// `[destination.NAME]`: the settings that all destinations have in common.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Destination {
    #[serde(default, deserialize_with = "nonzero_duration")]
    stall_timeout: Option<TimeSpan>,
    max_rate: Option<MaxRate>,
    pub(crate) parallel: Option<usize>,
    orphan_grace: Option<TimeSpan>,
}

impl Destination {
    /// The names of the settings.
    pub(crate) const SETTINGS: [&str; 4] = ["stall_timeout", "max_rate", "parallel", "orphan_grace"];

    pub(crate) fn orphan_grace(&self) -> TimeDelta {
        let grace = self.orphan_grace.and_then(|grace| TimeDelta::from_std(grace.duration()).ok());
        grace.unwrap_or(ORPHAN_GRACE)
    }

    pub(crate) fn store_settings(&self) -> StoreSettings {
        StoreSettings {
            stall_timeout: self.stall_timeout.map_or(STALL_TIMEOUT, TimeSpan::duration),
            max_rate: self.max_rate.clone().map(|rate| Arc::new(RateLimiter::new(rate))),
        }
    }
}

/// Reads a duration longer than zero.
fn nonzero_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TimeSpan>, D::Error> {
    let span = TimeSpan::deserialize(deserializer)?;
    if span.duration().is_zero() {
        return Err(D::Error::custom("must be longer than zero, such as \"60s\""));
    }
    Ok(Some(span))
}

/// An empty connection string: libpq's defaults and the `PG*` variables.
fn empty_connection() -> SecretString {
    String::new().into()
}

/// `[job.NAME]`, without its stages.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Job {
    pub(crate) cluster: String,
    pub(crate) ship: Vec<String>,
    pub(crate) retention: Option<Retention>,
    #[serde(default)]
    pub(crate) compression: CompressionSettings,
    #[serde(default = "default_parallel")]
    pub(crate) parallel: usize,
    pub(crate) scratch_dir: Option<PathBuf>,
    pub(crate) incremental: Option<Incremental>,
    pub(crate) max_age: Option<MaxAge>,
    #[serde(default, deserialize_with = "optional_zone")]
    pub(crate) timezone: Option<Tz>,
    #[serde(rename = "dump")]
    _dump: Option<IgnoredAny>,
    #[serde(rename = "verify")]
    _verify: Option<IgnoredAny>,
    #[serde(rename = "encrypt")]
    _encrypt: Option<IgnoredAny>,
    #[serde(rename = "drill")]
    _drill: Option<IgnoredAny>,
    #[serde(rename = "hook")]
    _hook: Option<IgnoredAny>,
    #[serde(rename = "schedule")]
    _schedule: Option<IgnoredAny>,
}

fn default_parallel() -> usize {
    1
}

fn optional_zone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Tz>, D::Error> {
    zone(deserializer).map(Some)
}

/// `[adopt.NAME]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Adopt {
    pub(crate) destination: String,
    pub(crate) pattern: String,
    pub(crate) retention: String,
    #[serde(default = "utc", deserialize_with = "zone")]
    pub(crate) timezone: Tz,
    pub(crate) cluster: Option<String>,
}

fn utc() -> Tz {
    Tz::UTC
}

/// One policy for all destinations, or a policy for each.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "write a policy's name, as in \"standard\", or one for each destination, as in { disk = \"standard\" }; the rules are in [retention.standard]"
)]
pub(crate) enum Retention {
    Everywhere(String),
    Each(BTreeMap<String, String>),
}

/// `compression = { by = …, method = …, level = …, threads = … }`
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CompressionSettings {
    #[serde(default)]
    by: Compressor,
    method: Option<String>,
    level: Option<LevelSetting>,
    threads: Option<u32>,
}

/// `level = 3`, or `level = "auto"`
#[derive(Deserialize)]
#[serde(untagged, expecting = "write a level's number or \"auto\"")]
enum LevelSetting {
    Number(i32),
    Word(String),
}

#[derive(Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Compressor {
    #[default]
    Longshore,
    PgDump,
}

/// The default maximum of compression threads: more compress faster than one connection delivers.
const MAX_DEFAULT_THREADS: u32 = 4;

impl CompressionSettings {
    pub(crate) fn resolve(self) -> Result<CompressBy, String> {
        if self.by == Compressor::PgDump {
            if self.threads.is_some() {
                return Err("threads applies only to compression by longshore".to_owned());
            }
            let method = self.method.unwrap_or_else(|| "gzip".to_owned());
            if !["gzip", "lz4", "zstd"].contains(&method.as_str()) {
                return Err(format!(
                    "unknown method {} for pg_dump: must be gzip, lz4 or zstd",
                    quote_unless_secret(&method)
                ));
            }
            return match self.level {
                None => Ok(CompressBy::Tool { method, level: None }),
                Some(LevelSetting::Number(level)) => Ok(CompressBy::Tool { method, level: Some(level) }),
                Some(LevelSetting::Word(_)) => Err("level must be a number if pg_dump compresses".to_owned()),
            };
        }
        let level = match self.level {
            None => DEFAULT_LEVEL,
            Some(LevelSetting::Number(level)) => level,
            Some(LevelSetting::Word(word)) if word == "auto" => DEFAULT_LEVEL,
            Some(LevelSetting::Word(word)) => {
                return Err(format!("level {} is neither a number nor \"auto\"", quote_unless_secret(&word)));
            }
        };
        let threads = || std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        let compression = match self.method.as_deref() {
            None | Some("zstd") => {
                Compression::Zstd { level, threads: self.threads.unwrap_or_else(|| threads().min(MAX_DEFAULT_THREADS)) }
            }
            Some("none") => Compression::None,
            Some(other) => return Err(format!("unknown method {}: must be zstd or none", quote_unless_secret(other))),
        };
        match compression {
            Compression::Zstd { level, .. } if !(1..=19).contains(&level) => {
                Err("level must be from 1 to 19".to_owned())
            }
            Compression::Zstd { threads, .. } if threads > 64 => Err("threads must be at most 64".to_owned()),
            valid => Ok(CompressBy::Pipeline(valid)),
        }
    }
}
