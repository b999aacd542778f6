//! The settings of the stage, and the options of BASE_BACKUP and pg_basebackup that follow from
//! them.

use chrono::{DateTime, Utc};
use longshore_core::unit::ByteSize;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_base::settings::{Checkpoint, DamagedPages, Wal};
use longshore_pg_replication::base_backup::{self, Options, PageChecksums};
use serde::Deserialize;

/// Settings of `{ type = "pg_base", … }`.
#[derive(Debug, Clone, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PgBase {
    /// The location of the WAL that makes the backup consistent.
    pub wal: Wal,
    /// The speed of the checkpoint at the beginning.
    pub checkpoint: Checkpoint,
    /// The maximum rate per second, from 32 KiB to 1 GiB. Without a limit by default.
    pub max_rate: Option<ByteSize>,
    /// The handling of pages whose checksum is wrong.
    pub damaged_pages: DamagedPages,
    /// The client that receives the backup.
    pub client: ReplicationClient,
}

/// The client that receives a backup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplicationClient {
    /// Longshore's own client.
    #[default]
    Longshore,
    /// The program pg_basebackup, for authentication that only libpq supports, such as GSSAPI. It
    /// reserves no WAL, and streams clusters without additional tablespaces only.
    PgBasebackup,
}

/// The limits of `max_rate` in bytes per second. Source: BASE_BACKUP's option MAX_RATE on the page
/// "Streaming Replication Protocol" of PostgreSQL's manual.
const MIN_RATE_BYTES: u64 = 32 << 10;
const MAX_RATE_BYTES: u64 = 1 << 30;

impl PgBase {
    /// Checks the settings.
    pub(crate) fn check(&self) -> Result<()> {
        if self.wal == Wal::Archive && self.client == ReplicationClient::PgBasebackup {
            let message = "\"archive\" is supported by Longshore's own client only";
            return Err(Error::new(Stage::Config, Kind::Usage, "wal", message)
                .hint("set wal = \"include\", or remove client = \"pg_basebackup\""));
        }
        self.max_rate_kib().map(drop)
    }

    /// Returns the maximum rate in KiB per second.
    pub(crate) fn max_rate_kib(&self) -> Result<Option<u32>> {
        let Some(bytes) = self.max_rate.map(ByteSize::bytes) else { return Ok(None) };
        let kib = u32::try_from(bytes >> 10).ok().filter(|_| (MIN_RATE_BYTES..=MAX_RATE_BYTES).contains(&bytes));
        kib.map(Some).ok_or_else(|| {
            let message = format!("{bytes} bytes per second are not between 32 KiB and 1 GiB");
            Error::new(Stage::Config, Kind::Usage, "max_rate", message)
                .hint("set a rate that PostgreSQL supports, such as max_rate = \"100MiB\"")
        })
    }

    /// Returns the options of BASE_BACKUP.
    pub(crate) fn options(&self, now: DateTime<Utc>) -> Result<Options> {
        Ok(Options {
            label: label(now),
            checkpoint: match self.checkpoint {
                Checkpoint::Fast => base_backup::Checkpoint::Fast,
                Checkpoint::Spread => base_backup::Checkpoint::Spread,
            },
            wal: match self.wal {
                Wal::Include => base_backup::Wal::Include,
                Wal::Archive => base_backup::Wal::Exclude,
            },
            manifest_checksums: base_backup::ManifestChecksums::Crc32c,
            tablespace_map: base_backup::TablespaceMap::File,
            max_rate_kib: self.max_rate_kib()?,
            size_estimates: base_backup::SizeEstimates::Measure,
            page_checksums: match self.damaged_pages {
                DamagedPages::Fail => PageChecksums::Verify,
                DamagedPages::Record => PageChecksums::Report,
            },
            kind: base_backup::BackupKind::Full,
        })
    }

    /// Returns the arguments of pg_basebackup, without those of the connection.
    pub(crate) fn arguments(&self, now: DateTime<Utc>) -> Result<Vec<String>> {
        let checkpoint = match self.checkpoint {
            Checkpoint::Fast => "fast",
            Checkpoint::Spread => "spread",
        };
        let mut arguments: Vec<String> =
            ["--format=tar", "--pgdata=-", "--wal-method=fetch", "--manifest-checksums=CRC32C"]
                .map(str::to_owned)
                .into();
        arguments.push(format!("--checkpoint={checkpoint}"));
        arguments.push(format!("--label={}", label(now)));
        arguments.extend(self.max_rate_kib()?.map(|kib| format!("--max-rate={kib}k")));
        if self.damaged_pages == DamagedPages::Record {
            arguments.push("--no-verify-checksums".to_owned());
        }
        Ok(arguments)
    }
}

/// Returns the label of a backup, which the server writes into `backup_label`.
fn label(now: DateTime<Utc>) -> String {
    format!("longshore {}", now.format("%Y-%m-%dT%H:%M:%SZ"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn settings(value: Value) -> PgBase {
        serde_json::from_value(value).unwrap()
    }

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    #[test]
    fn defaults_spare_the_server_and_fail_on_damage() {
        let settings = settings(json!({}));
        settings.check().unwrap();
        let options = settings.options(NOW).unwrap();
        assert_eq!(options.label, "longshore 1970-01-01T00:00:00Z");
        assert_eq!((options.checkpoint, options.wal), (base_backup::Checkpoint::Spread, base_backup::Wal::Include));
        assert_eq!((options.page_checksums, options.max_rate_kib), (PageChecksums::Verify, None));
        assert_eq!(settings.client, ReplicationClient::Longshore);
    }

    #[test]
    fn settings_become_options_and_arguments() {
        let settings = settings(json!({ "checkpoint": "fast", "max_rate": "100MiB", "damaged_pages": "record" }));
        let options = settings.options(NOW).unwrap();
        assert_eq!(
            (options.checkpoint, options.page_checksums),
            (base_backup::Checkpoint::Fast, PageChecksums::Report)
        );
        assert_eq!(options.max_rate_kib, Some(102_400));
        assert_eq!(
            settings.arguments(NOW).unwrap(),
            [
                "--format=tar",
                "--pgdata=-",
                "--wal-method=fetch",
                "--manifest-checksums=CRC32C",
                "--checkpoint=fast",
                "--label=longshore 1970-01-01T00:00:00Z",
                "--max-rate=102400k",
                "--no-verify-checksums",
            ]
        );
    }

    #[test]
    fn rates_out_of_range_are_rejected() {
        for (rate, kib) in [("32KiB", 32), ("33000", 32), ("1GiB", 1 << 20)] {
            assert_eq!(settings(json!({ "max_rate": rate })).max_rate_kib().unwrap(), Some(kib), "{rate}");
        }
        for rate in ["0", "32767", "1025MiB", "8TiB", "9000000TiB"] {
            let error = settings(json!({ "max_rate": rate })).check().unwrap_err();
            assert_eq!((error.kind(), error.subject()), (Kind::Usage, "max_rate"), "{rate}");
            assert!(error.remedy().is_some());
        }
    }

    #[test]
    fn wal_may_be_left_to_the_archive() {
        let archive = settings(json!({ "wal": "archive" }));
        archive.check().unwrap();
        assert_eq!(archive.options(NOW).unwrap().wal, base_backup::Wal::Exclude);
        let error = settings(json!({ "wal": "archive", "client": "pg_basebackup" })).check().unwrap_err();
        assert_eq!((error.kind(), error.subject()), (Kind::Usage, "wal"));
        assert!(error.remedy().is_some_and(|hint| hint.contains("include")), "{error:?}");
    }

    #[test]
    fn unknown_settings_are_rejected() {
        for value in [json!({ "compress": true }), json!({ "wal": "none" }), json!({ "client": "psql" })] {
            assert!(serde_json::from_value::<PgBase>(value.clone()).is_err(), "{value}");
        }
    }
}
