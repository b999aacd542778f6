//! Incremental backups: the conditions under which the server's answer is right.
//!
//! PostgreSQL omits blocks of relations that were truncated and grew again, see
//! [`longshore_pg_base::incremental::truncation`]. The WAL summaries, by which the server itself
//! selects blocks, record the truncations.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use longshore_core::base::BaseFacts;
use longshore_core::check::Finding;
use longshore_core::stage::{Dumped, Incremental, Parent};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_base::incremental::truncation::Truncations;
use longshore_pg_base::relation_file::{Fork, Relation};
use longshore_pg_client::cluster_files;
use longshore_pg_client::tool::Version;
use longshore_pg_replication::base_backup::{BackupKind, WalPosition};
use longshore_pg_replication::{Connection, Error as ClientError};
use longshore_pg_wal::Lsn;
use serde::Deserialize;
use tokio::fs::File;

use crate::failure;
use crate::own_client::{BASE, OwnClient};
use crate::source::Session;

/// The first major version with incremental backups.
const FIRST_MAJOR: u32 = 17;

/// The first minor versions that were found to record all changes but truncations, by major
/// version. Those before 17.8 and 18.2 make backups of tables over 1 GiB that cannot be combined,
/// and later ones did not record all changes of visibility maps.
const FIRST_MINOR: [(u32, u32); 2] = [(17, 12), (18, 6)];

/// The time in which the server summarizes the WAL up to the start of a full backup, as a rule. An
/// idle server may take longer.
const SUMMARY_TIME: Duration = Duration::from_secs(5);
const SUMMARY_POLL: Duration = Duration::from_millis(100);

/// The hint of errors after which a full backup is possible.
const FULL: &str = "take a full backup";

/// The setting that makes the server write WAL summaries.
const SUMMARIZE_WAL: &str = "summarize_wal";

#[async_trait]
impl Incremental for OwnClient {
    async fn dump_since(&self, parent: &Parent) -> Result<Dumped> {
        let identity = self.identity().await?;
        expect_version(&identity.version)?;
        // Files and WAL summaries of the earlier backup may have the defects of its server.
        Version::parse(&parent.server_version).map_or(Ok(()), |version| expect_version(&version))?;
        if identity.system_identifier.to_string() != parent.system_identifier {
            return Err(refused("the earlier backup is of another cluster"));
        }
        // Queried before the backup, since the server waits for the reader of a running one.
        let names = cluster_files::tablespace_names(self.client()).await;
        let (slot, mut connection) = self.open().await?;
        self.expect_summaries(&mut connection).await?;
        let timeline = connection.identify_system().await;
        let timeline =
            timeline.map_err(|error| self.source().error("cannot query the server's identity", error))?.timeline;
        if timeline != parent.base.timeline {
            let message =
                format!("the earlier backup is of timeline {}, the server on {timeline}", parent.base.timeline);
            return Err(refused(message));
        }
        self.expect_same_checksums(&mut connection, parent).await?;
        let history = self.newest_summary(&parent.base).await?.map(|summary| summary.digest());
        if history.as_ref() != Some(&parent.history) {
            let message = "the server does not have the WAL summary of the earlier backup any more: it was restored or \
                           rolled back since, or wal_summary_keep_time has passed";
            return Err(refused(message));
        }
        let manifest = File::open(&parent.manifest)
            .await
            .map_err(|error| refused("the server's manifest of the earlier backup cannot be read").because(error))?;
        connection
            .upload_manifest(manifest)
            .await
            .map_err(|error| refusal("the server refuses its manifest", error))?;
        let options = self.options(BackupKind::Incremental)?;
        let backup = connection.base_backup(&options).await;
        let backup = backup.map_err(|error| refusal("the server makes no incremental backup", error))?;
        let truncations = self.truncations(parent.base.start_lsn, backup.start()).await?;
        self.begin(slot, backup, names, truncations).await
    }

    async fn history(&self, base: &BaseFacts) -> Result<Option<String>> {
        expect_version(&self.identity().await?.version)?;
        let deadline = Instant::now() + SUMMARY_TIME;
        loop {
            let summary = self.newest_summary(base).await?;
            let is_complete = summary.as_ref().is_some_and(|summary| summary.end == base.start_lsn.to_string());
            if is_complete || Instant::now() >= deadline {
                return Ok(summary.map(|summary| summary.digest()));
            }
            tokio::time::sleep(SUMMARY_POLL).await;
        }
    }

    async fn check(&self) -> Vec<Finding> {
        let checked = async {
            expect_version(&self.identity().await?.version)?;
            let mut connection = self.source().connect(Session::Active).await?;
            self.expect_summaries(&mut connection).await
        };
        let subject = format!("cluster {}", self.source().name());
        vec![match checked.await {
            Ok(()) => Finding::good(subject, "the server writes WAL summaries, for incremental backups"),
            Err(error) if error.kind() == Kind::Refused => {
                let remedy = error.remedy().unwrap_or(FULL).to_owned();
                Finding::warning(subject, format!("every backup will be a full one: {error}"), remedy)
            }
            Err(error) => Finding::failed(subject, &error),
        }]
    }
}

impl OwnClient {
    /// Fails unless the server writes WAL summaries.
    async fn expect_summaries(&self, connection: &mut Connection) -> Result<()> {
        let shown = connection.show(SUMMARIZE_WAL).await;
        match shown.map_err(|error| self.source().error("cannot query the setting summarize_wal", error))?.as_str() {
            "on" => Ok(()),
            other => Err(Error::new(Stage::Dump, Kind::Refused, BASE, format!("{SUMMARIZE_WAL} = {other}"))
                .hint("set summarize_wal = on on the server, and reload its configuration")),
        }
    }

    /// Fails if page checksums were switched on or off: that changes files without WAL.
    async fn expect_same_checksums(&self, connection: &mut Connection, parent: &Parent) -> Result<()> {
        let shown = connection.show("data_checksums").await;
        let shown = shown.map_err(|error| self.source().error("cannot query the setting data_checksums", error))?;
        if (shown == "on") == parent.base.page_checksums {
            return Ok(());
        }
        Err(refused("page checksums were switched on or off since the earlier backup"))
    }

    /// Returns the newest WAL summary up to the start of a backup.
    async fn newest_summary(&self, base: &BaseFacts) -> Result<Option<Summary>> {
        self.client().query(&Summary::query(base)).await.map_err(unreadable)
    }

    /// Returns the truncations between the starts of two backups.
    async fn truncations(&self, from: Lsn, to: WalPosition) -> Result<Truncations> {
        let summaries: Summaries = self.client().query(&Summaries::query(from, to)).await.map_err(unreadable)?;
        let expected = self.identity().await?.system_identifier.to_string();
        if summaries.system_identifier != expected {
            let message = format!(
                "the connection for SQL reaches the cluster with system identifier {}, not {expected}",
                summaries.system_identifier
            );
            return Err(refused(message).hint("name one server of the cluster in the connection string"));
        }
        summaries.truncations(from, to.position)
    }
}

/// A WAL summary.
#[derive(Debug, Deserialize)]
struct Summary {
    start: String,
    end: String,
    /// A number that depends on every block in the summary.
    blocks: String,
}

impl Summary {
    /// Returns the query for the newest summary up to the start of a backup.
    fn query(base: &BaseFacts) -> String {
        let BaseFacts { timeline, start_lsn, .. } = base;
        format!(
            "with summary as materialized (select tli, start_lsn, end_lsn from pg_catalog.pg_available_wal_summaries()
                where tli = {timeline} and end_lsn <= '{start_lsn}' order by end_lsn desc, start_lsn desc limit 1)
            select coalesce((select json_build_object('start', start_lsn, 'end', end_lsn, 'blocks',
                (select concat(count(*), ' ', bit_xor(hashtextextended(concat_ws(' ', relfilenode, reltablespace,
                    reldatabase, relforknumber, relblocknumber, is_limit_block), 0)))
                from pg_catalog.pg_wal_summary_contents(tli, start_lsn, end_lsn))) from summary), 'null')"
        )
    }

    /// Returns a text that differs between two histories of a cluster.
    fn digest(&self) -> String {
        format!("{} {} {}", self.start, self.end, self.blocks)
    }
}

/// The WAL summaries of a range.
#[derive(Debug, Deserialize)]
struct Summaries {
    /// The system identifier of the cluster.
    system_identifier: String,
    /// The first and the last position of each summary, sorted.
    ranges: Vec<(String, String)>,
    /// Tablespace, database, number, fork, and the lowest number of blocks of each truncated
    /// relation.
    truncations: Vec<(u32, u32, u32, u16, u32)>,
}

impl Summaries {
    /// Returns the query for the summaries between two positions of a timeline.
    fn query(from: Lsn, to: WalPosition) -> String {
        let WalPosition { position, timeline } = to;
        format!(
            "with summary as materialized (select tli, start_lsn, end_lsn from pg_catalog.pg_available_wal_summaries()
                where tli = {timeline} and end_lsn > '{from}' and start_lsn < '{position}'),
            truncated as (select reltablespace, reldatabase, relfilenode, relforknumber, min(relblocknumber) as blocks
                from summary, lateral pg_catalog.pg_wal_summary_contents(tli, start_lsn, end_lsn)
                where is_limit_block and relblocknumber > 0 group by 1, 2, 3, 4)
            select json_build_object(
                'system_identifier', (select system_identifier::text from pg_catalog.pg_control_system()),
                'ranges', (select coalesce(json_agg(json_build_array(start_lsn, end_lsn) order by start_lsn, end_lsn), '[]')
                    from summary),
                'truncations', (select coalesce(json_agg(json_build_array(reltablespace::int8, reldatabase::int8,
                    relfilenode::int8, relforknumber, blocks)), '[]') from truncated))"
        )
    }

    /// Returns the truncations. Fails if the summaries do not cover the range.
    fn truncations(self, from: Lsn, to: Lsn) -> Result<Truncations> {
        let mut covered = from;
        for (start, end) in &self.ranges {
            match (start.parse::<Lsn>(), end.parse::<Lsn>()) {
                (Ok(start), Ok(end)) if start <= covered => covered = covered.max(end),
                _ => break,
            }
        }
        if covered < to {
            return Err(refused(format!("the server has WAL summaries only up to {covered}, not to {to}")));
        }
        let mut truncations = Truncations::default();
        for (tablespace, database, number, fork, blocks) in self.truncations {
            // `ForkNumber` of src/include/common/relpath.h.
            let fork = match fork {
                0 => Fork::Main,
                1 => Fork::FreeSpaceMap,
                2 => Fork::VisibilityMap,
                3 => Fork::Init,
                other => return Err(refused(format!("a WAL summary has an unknown fork {other}"))),
            };
            truncations.add(Relation { tablespace, database, number }, fork, blocks);
        }
        Ok(truncations)
    }
}

/// Fails for servers without incremental backups, and for those whose backups cannot be combined.
fn expect_version(version: &Version) -> Result<()> {
    if version.major < FIRST_MAJOR {
        let error = refused(format!("PostgreSQL {version} makes no incremental backups"));
        return Err(error.hint("upgrade the server to PostgreSQL 17 or newer, or remove `incremental`"));
    }
    match FIRST_MINOR.iter().find(|(major, minor)| version.major == *major && version.minor < *minor) {
        None => Ok(()),
        Some((major, minor)) => {
            let message = format!("PostgreSQL {version} makes incremental backups that lack changes");
            Err(refused(message).hint(format!("upgrade the server to {major}.{minor} or newer")))
        }
    }
}

fn unreadable(error: Error) -> Error {
    refused("the WAL summaries cannot be read, so that missing blocks would not be found").because(error)
}

fn refused(message: impl Into<String>) -> Error {
    Error::new(Stage::Dump, Kind::Refused, BASE, message).hint(FULL)
}

/// Returns the error of a command for an incremental backup. A refusal by the server leaves a full
/// backup possible, other than a lost connection.
fn refusal(message: &str, error: ClientError) -> Error {
    match error.server().is_some() || matches!(error, ClientError::Read { .. }) {
        true => refused(message).because(error),
        false => failure::convert(Stage::Dump, BASE, message, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lsn(text: &str) -> Lsn {
        text.parse().unwrap()
    }

    fn summaries(ranges: &[(&str, &str)]) -> Summaries {
        let ranges = ranges.iter().map(|(start, end)| ((*start).to_owned(), (*end).to_owned())).collect();
        let system_identifier = "7512345678901234567".to_owned();
        Summaries { system_identifier, ranges, truncations: vec![(1663, 5, 16384, 0, 50)] }
    }

    #[test]
    fn versions_with_defects_are_refused() {
        let check = |text| expect_version(&Version::parse(text).unwrap());
        for good in ["17.12 (Debian 17.12-0+deb13u1)", "17.13", "18.6", "18.7", "19beta1"] {
            check(good).unwrap();
        }
        for bad in ["15.20", "16.14", "17.11", "17.0", "18.0", "18.5"] {
            let error = check(bad).unwrap_err();
            assert!(error.kind() == Kind::Refused && error.remedy().is_some_and(|hint| hint.contains("upgrade")));
        }
    }

    #[test]
    fn summaries_must_cover_the_range() {
        let from_to = |ranges: &[_]| summaries(ranges).truncations(lsn("0/2000028"), lsn("0/6000028"));
        from_to(&[("0/1000000", "0/4000000"), ("0/4000000", "0/6000028")]).unwrap();
        for ranges in [
            &[][..],
            &[("0/1000000", "0/4000000")],
            &[("0/2000100", "0/7000000")],
            &[("0/1000000", "0/4000000"), ("0/4000001", "0/7000000")],
            &[("0/1000000", "x")],
        ] {
            let error = from_to(ranges).unwrap_err();
            assert_eq!(error.kind(), Kind::Refused, "{ranges:?}");
        }
        let mut unknown = summaries(&[("0/1000000", "0/7000000")]);
        unknown.truncations[0].3 = 4;
        assert_eq!(unknown.truncations(lsn("0/2000028"), lsn("0/6000028")).unwrap_err().kind(), Kind::Refused);
    }
}
