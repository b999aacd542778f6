//! A standby: its replay, the settings by which replay cancels queries, and the cancelled queries.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use longshore_core::Result;
use longshore_core::check::Finding;
use longshore_core::standby::{Paused, Replay, Standby};
use serde::Deserialize;

use crate::client::Client;
use crate::server::literal;

/// The time limit for replay to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// The interval at which a pause is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

// Before PostgreSQL 10, the functions below have other names.
const HAS_REPLAY: &str =
    "select to_json(pg_catalog.pg_is_in_recovery() and current_setting('server_version_num')::int >= 100000)";
const REPLAY: &str = "select json_build_object(
    'server', extract(epoch from pg_catalog.pg_postmaster_start_time())::numeric::text,
    'paused', pg_catalog.pg_is_wal_replay_paused(),
    'may_pause', has_function_privilege('pg_catalog.pg_wal_replay_pause()', 'execute')
        and has_function_privilege('pg_catalog.pg_wal_replay_resume()', 'execute'),
    'caught_up', coalesce(pg_catalog.pg_last_wal_replay_lsn() >= pg_catalog.pg_last_wal_receive_lsn(), true))";

/// The state of a pause. PostgreSQL 14 and later report whether replay has stopped; older versions
/// report only whether a pause was requested.
#[derive(Deserialize)]
struct Progress {
    stopped: Option<bool>,
    replayed: Option<String>,
}

const HAS_PAUSE_STATE: &str =
    "select to_json(to_regprocedure('pg_catalog.pg_get_wal_replay_pause_state()') is not null)";
const PROGRESS: &str = "select json_build_object('stopped', pg_catalog.pg_get_wal_replay_pause_state() = 'paused',
    'replayed', pg_catalog.pg_last_wal_replay_lsn()::text)";
const PROGRESS_BEFORE_14: &str =
    "select json_build_object('stopped', null, 'replayed', pg_catalog.pg_last_wal_replay_lsn()::text)";

#[async_trait]
impl Standby for Client {
    async fn replay_state(&self) -> Result<Option<Replay>> {
        if self.query(HAS_REPLAY).await? { self.query(REPLAY).await.map(Some) } else { Ok(None) }
    }

    async fn pause(&self) -> Result<Paused> {
        self.execute("select pg_catalog.pg_wal_replay_pause()").await?;
        let query = if self.query(HAS_PAUSE_STATE).await? { PROGRESS } else { PROGRESS_BEFORE_14 };
        let started = Instant::now();
        let mut before = None;
        while started.elapsed() < STOP_TIMEOUT {
            let Progress { stopped, replayed } = self.query(query).await?;
            let is_unchanged = before.is_some() && before == replayed;
            if stopped.unwrap_or(is_unchanged) {
                return Ok(Paused::Stopped);
            }
            before = replayed;
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(Paused::Requested)
    }

    async fn resume(&self) -> Result<()> {
        // A server that was promoted meanwhile replays nothing, and the function fails there.
        let resume = "select case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_wal_replay_resume() end";
        self.execute(resume).await.map(drop)
    }

    async fn settings(&self) -> Result<Finding> {
        let settings: ConflictSettings = self.query(CONFLICT_SETTINGS).await?;
        Ok(settings.finding(self.name()))
    }

    async fn conflicts(&self, database: &str) -> Result<u64> {
        let query = "select to_json(coalesce(sum(confl_tablespace + confl_lock + confl_snapshot + confl_bufferpin
            + confl_deadlock), 0)::bigint) from pg_catalog.pg_stat_database_conflicts where datname =";
        self.query(&format!("{query} {}", literal(database))).await
    }
}

/// The settings of a standby by which replay cancels conflicting queries.
#[derive(Debug, Clone, Deserialize)]
struct ConflictSettings {
    hot_standby_feedback: String,
    max_standby_streaming_delay: String,
    max_standby_archive_delay: String,
}

const CONFLICT_SETTINGS: &str = "select json_build_object(
    'hot_standby_feedback', current_setting('hot_standby_feedback'),
    'max_standby_streaming_delay', current_setting('max_standby_streaming_delay'),
    'max_standby_archive_delay', current_setting('max_standby_archive_delay'))";

impl ConflictSettings {
    /// Returns the finding whether replay may cancel a long dump of cluster `name`, with the
    /// settings and their values.
    fn finding(&self, name: &str) -> Finding {
        let subject = format!("cluster {name}");
        let delays = [
            ("max_standby_streaming_delay", &self.max_standby_streaming_delay),
            ("max_standby_archive_delay", &self.max_standby_archive_delay),
        ];
        let limited: Vec<_> = delays.iter().filter(|(_, delay)| *delay != "-1").collect();
        if limited.is_empty() {
            return Finding::good(subject, "the standby's replay waits for a dump: both max_standby_…_delay are -1");
        }
        let limited: Vec<_> = limited.iter().map(|(setting, delay)| format!("{setting} = {delay}")).collect();
        let cause = match self.hot_standby_feedback.as_str() {
            "on" => "DROP, TRUNCATE or ALTER of a table",
            _ => "VACUUM, DROP, TRUNCATE or ALTER of a table",
        };
        let message = format!(
            "the standby's replay cancels a long dump after {cause} on the primary: hot_standby_feedback = {}, {}",
            self.hot_standby_feedback,
            limited.join(", ")
        );
        Finding::warning(
            subject,
            message,
            format!(
                "set pause_replay = true in [cluster.{name}], or on the standby hot_standby_feedback = on and \
                 max_standby_streaming_delay = -1"
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::check::Outcome;

    use super::*;

    #[test]
    fn finding_names_settings_that_cancel_dumps() {
        let settings = |feedback: &str, streaming: &str, archive: &str| ConflictSettings {
            hot_standby_feedback: feedback.into(),
            max_standby_streaming_delay: streaming.into(),
            max_standby_archive_delay: archive.into(),
        };
        let finding = settings("off", "30s", "-1").finding("main");
        assert_eq!(finding.outcome, Outcome::Warning);
        assert!(
            finding.message.contains("hot_standby_feedback = off, max_standby_streaming_delay = 30s"),
            "{finding:?}"
        );
        assert!(finding.message.contains("VACUUM") && !finding.message.contains("archive"), "{finding:?}");
        let finding = settings("on", "0", "30s").finding("main");
        assert!(finding.message.contains("max_standby_archive_delay = 30s"), "{finding:?}");
        assert!(!finding.message.contains("VACUUM"), "{finding:?}");
        assert_eq!(settings("off", "-1", "-1").finding("main").outcome, Outcome::Good);
    }
}
