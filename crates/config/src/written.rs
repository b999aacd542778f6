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
use longshore_retention::{Policy, zone};
use secrecy::SecretString;
use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};

use crate::differential::Differential;
use crate::error::quote_unless_secret;
use crate::incremental::Incremental;
use crate::reference;
use crate::trust::{WrittenSigning, WrittenTrust};

/// The default for `orphan_grace`: no run takes as long, and no clock is as wrong.
const ORPHAN_GRACE: TimeDelta = TimeDelta::hours(48);

/// The top of the file. The sections are read one by one; their names are fields so that the error
/// about an unknown section lists them.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "The configuration of Longshore", description = "One TOML file.")]
pub(crate) struct Top {
    /// The folder for locks, which prevent two runs of one job at a time.
    pub(crate) lock_dir: Option<PathBuf>,
    /// The folder for the state that this host keeps between runs.
    pub(crate) state_dir: Option<PathBuf>,
    /// The file for metrics, written after each run, drill and verification.
    pub(crate) metrics_file: Option<PathBuf>,
    /// The folder of programs of `type = "exec"` that are named without a slash.
    pub(crate) plugin_dir: Option<PathBuf>,
    /// The key that signs the records of this host.
    pub(crate) signing: Option<WrittenSigning>,
    /// The signers whose records this host trusts.
    pub(crate) trust: Option<WrittenTrust>,
    #[serde(rename = "identity")]
    #[schemars(with = "Option<reference::Identity>")]
    _identity: Option<IgnoredAny>,
    /// The programs that decrypt the files of other encryptions than age, by the name of the
    /// encryption.
    #[serde(rename = "decrypt")]
    #[schemars(with = "Option<reference::Named<reference::Decrypt>>")]
    _decrypt: Option<IgnoredAny>,
    /// The PostgreSQL servers to back up, by name.
    #[serde(rename = "cluster")]
    #[schemars(with = "Option<reference::Named<Cluster>>")]
    _cluster: Option<IgnoredAny>,
    /// The places to store backups, by name.
    #[serde(rename = "destination")]
    #[schemars(with = "Option<reference::Named<reference::Destination>>")]
    _destination: Option<IgnoredAny>,
    /// The retention policies, by name.
    #[serde(rename = "retention")]
    #[schemars(with = "Option<reference::Named<Policy>>")]
    _retention: Option<IgnoredAny>,
    /// The rules that adopt dated files of other programs as backups, by name.
    #[serde(rename = "adopt")]
    #[schemars(with = "Option<reference::Named<Adopt>>")]
    _adopt: Option<IgnoredAny>,
    /// The jobs, by name.
    #[serde(rename = "job")]
    #[schemars(with = "Option<reference::Named<Job>>")]
    _job: Option<IgnoredAny>,
    /// The channels of notices, by name.
    #[serde(rename = "notify")]
    #[schemars(with = "Option<reference::Named<reference::Notify>>")]
    _notify: Option<IgnoredAny>,
    #[serde(rename = "serve")]
    #[schemars(with = "Option<reference::Serve>")]
    _serve: Option<IgnoredAny>,
}

/// `[cluster.NAME]`: a PostgreSQL server to back up.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cluster {
    /// The connection: libpq keywords, a URI, or `service=NAME`. By default libpq's defaults and
    /// the `PG*` variables.
    #[serde(default = "empty_connection")]
    #[schemars(with = "String")]
    pub(crate) connection: SecretString,
    /// The directory of PostgreSQL's client programs. By default `PATH` and `/usr/lib/postgresql`
    /// are searched.
    pub(crate) bin_dir: Option<PathBuf>,
    /// On a standby: pauses WAL replay during a dump, so that replay does not cancel the dump.
    #[serde(default)]
    pub(crate) pause_replay: bool,
    #[serde(rename = "wal")]
    #[schemars(with = "Option<reference::WalArchive>")]
    _wal: Option<IgnoredAny>,
}

/// `[destination.NAME]`: the settings that all destinations have in common.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Destination {
    /// The time without progress after which reads and writes fail, by default `"10m"`.
    #[serde(default, deserialize_with = "nonzero_duration")]
    stall_timeout: Option<TimeSpan>,
    /// The maximum rate of uploads in bytes per second, such as `"20MiB"`, or a table by local time
    /// of day.
    max_rate: Option<MaxRate>,
    /// The maximum number of parallel uploads.
    #[schemars(range(min = 1, max = 64))]
    pub(crate) parallel: Option<usize>,
    /// The minimum age of an orphan before it is removed, counted from when prune first saw it, by
    /// default `"48h"`.
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

/// `[job.NAME]`: the data to dump, and the stages that verify, encrypt, upload and keep it.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Job {
    /// The name of the cluster to back up.
    pub(crate) cluster: String,
    /// The names of the destinations. The data is read once for all of them.
    #[schemars(length(min = 1))]
    pub(crate) ship: Vec<String>,
    /// The retention policy of all destinations, or one for each. Without a policy, all backups are
    /// kept.
    pub(crate) retention: Option<Retention>,
    /// The compression of the backups.
    #[serde(default)]
    pub(crate) compression: CompressionSettings,
    /// The number of parallel dumps.
    #[serde(default = "default_parallel")]
    #[schemars(range(min = 1, max = 64))]
    pub(crate) parallel: usize,
    /// A folder for plaintext that is not a stream, such as pg_dump's directory format, preferably
    /// in memory.
    pub(crate) scratch_dir: Option<PathBuf>,
    /// Incremental base backups between two full ones.
    pub(crate) incremental: Option<Incremental>,
    /// Dumps stored as their difference from the last full dump.
    pub(crate) differential: Option<Differential>,
    /// The maximum age of the newest backup of each series at each destination; `status` reports
    /// older ones.
    pub(crate) max_age: Option<MaxAge>,
    /// The time zone of the schedules, by its name in the IANA database. By default UTC.
    #[serde(default, deserialize_with = "optional_zone")]
    #[schemars(with = "Option<String>")]
    pub(crate) timezone: Option<Tz>,
    /// The dumps.
    #[serde(rename = "dump")]
    #[schemars(with = "Vec<reference::Dump>", length(min = 1))]
    _dump: Option<IgnoredAny>,
    /// The verifiers of the plaintext, in order. By default one that suits the format.
    #[serde(rename = "verify")]
    #[schemars(with = "Option<Vec<reference::Verify>>")]
    _verify: Option<IgnoredAny>,
    /// The encryption.
    #[serde(rename = "encrypt")]
    #[schemars(with = "reference::Encrypt")]
    _encrypt: Option<IgnoredAny>,
    #[serde(rename = "drill")]
    #[schemars(with = "Option<reference::Drill>")]
    _drill: Option<IgnoredAny>,
    /// The programs that run before and after the job.
    #[serde(rename = "hook")]
    #[schemars(with = "Option<Vec<reference::Hook>>")]
    _hook: Option<IgnoredAny>,
    /// The cron expression of the runs, or a table with the expressions of several verbs.
    #[serde(rename = "schedule")]
    #[schemars(with = "Option<reference::Schedule>")]
    _schedule: Option<IgnoredAny>,
}

fn default_parallel() -> usize {
    1
}

fn optional_zone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Tz>, D::Error> {
    zone(deserializer).map(Some)
}

/// `[adopt.NAME]`: dated files of another program, to list and prune.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Adopt {
    /// The name of the destination that contains the files.
    pub(crate) destination: String,
    /// The pattern of whole keys: `{database}`, `{uuid}`, and a time in the format of strftime.
    pub(crate) pattern: String,
    /// The name of the retention policy.
    pub(crate) retention: String,
    /// The time zone of the names, by its name in the IANA database, unless the names state their
    /// offset from UTC.
    #[serde(default = "utc", deserialize_with = "zone")]
    #[schemars(with = "String")]
    pub(crate) timezone: Tz,
    /// The database of the files, for a pattern without `{database}`.
    pub(crate) database: Option<String>,
    /// The cluster to list the files under. By default the name of this table.
    pub(crate) cluster: Option<String>,
}

fn utc() -> Tz {
    Tz::UTC
}

/// One policy for all destinations, or a policy for each.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(
    untagged,
    expecting = "write a policy's name, as in \"standard\", or one for each destination, as in { disk = \"standard\" }; the rules are in [retention.standard]"
)]
pub(crate) enum Retention {
    /// The policy of all destinations.
    Everywhere(String),
    /// The policy of each destination, by the name of the destination.
    Each(BTreeMap<String, String>),
}

/// `compression = { by = …, method = …, level = …, threads = … }`: the compression of the backups.
#[derive(Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CompressionSettings {
    /// The program that compresses.
    #[serde(default)]
    by: Compressor,
    /// The method: `zstd` (the default) or `none` by longshore; `gzip` (the default), `lz4` or
    /// `zstd` by pg_dump.
    #[schemars(extend("enum" = ["zstd", "none", "gzip", "lz4"]))]
    method: Option<String>,
    /// The level, by default 3 of zstd's 1 to 19.
    level: Option<LevelSetting>,
    /// The number of threads, by default that of the processors, at most 4.
    #[schemars(range(max = 64))]
    threads: Option<u32>,
}

/// `level = 3`, or `level = "auto"`
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(untagged, expecting = "write a level's number or \"auto\"")]
pub(crate) enum LevelSetting {
    Number(i32),
    Word(#[schemars(extend("const" = "auto"))] String),
}

#[derive(Default, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Compressor {
    /// Longshore.
    #[default]
    Longshore,
    /// The program pg_dump.
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
