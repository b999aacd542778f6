//! The examination of a cluster that was restored from its files: the structure of its tables and
//! indexes is checked, all rows are read, and the operator's queries run.
//!
//! No record has the rows of that moment, so no numbers are compared.

use std::time::Instant;

use longshore_config::Job;
use longshore_core::drill::{Comparison, ComparisonOutcome, Drill, Phase, Verdict};
use longshore_core::sqlstate::Failure;
use longshore_core::stage::{Examine, ScratchCluster, StructurePart};
use longshore_core::{Error, Result};

use super::{DrillCandidate, Driller, Report, classify, query, seconds, unused_query};
use crate::error_report::ErrorReport;

/// The reason why the rows of a base backup are not compared.
const NO_RECORD: &str = "all rows were read, but no numbers of that moment exist to compare them with";

/// All databases, and whether they accept connections. A database whose `DROP DATABASE` was
/// interrupted accepts none.
const DATABASES: &str =
    "select datname, (datallowconn and datconnlimit <> -2)::text from pg_catalog.pg_database order by datname";

/// The databases to query first. A cluster may lack `postgres`.
const MAINTENANCE: [&str; 2] = ["postgres", "template1"];

impl Driller<'_> {
    /// Checks and reads all databases, and runs the operator's queries.
    pub(super) async fn read_cluster(
        &self,
        job: &Job,
        candidate: &DrillCandidate,
        cluster: &dyn ScratchCluster,
        drill: &mut Drill,
        report: &mut Report,
    ) -> Result<()> {
        let manifest = &candidate.backup.manifest;
        let examiner = self.registry.examine.build(&self.registry.default_examine, &cluster.cluster())?;
        let damaged_pages = manifest.base.as_ref().map_or(0, |base| base.damaged_pages);
        let reader = Reader { cluster, examiner: &*examiner, damaged_pages };
        let found = reader.databases().await;
        let (databases, closed) = found.map_err(|error| classify::files_not_drilled(&error, &[]))?;
        drill.comparisons.extend(
            closed
                .iter()
                .map(|name| uncompared(format!("database {name}"), "reading", "it accepts no connections".to_owned())),
        );

        let begun = Instant::now();
        for name in &databases {
            for part in [StructurePart::Tables, StructurePart::Indexes] {
                drill.comparisons.extend(reader.check_structure(name, part).await);
            }
        }
        drill.phases.push(phase("amcheck", begun));

        let begun = Instant::now();
        let (mut readable, mut unread) = (Vec::new(), None);
        for name in &databases {
            match reader.read(name).await {
                Ok(comparisons) => {
                    drill.comparisons.extend(comparisons);
                    readable.push(name);
                }
                Err(Unread { comparison, not_drilled }) => {
                    drill.comparisons.push(comparison);
                    unread = unread.or(not_drilled);
                }
            }
        }
        drill.phases.push(phase("read", begun));
        drill.comparisons.push(uncompared("cluster".to_owned(), "rows", NO_RECORD.to_owned()));

        let is_damaged = drill.comparisons.iter().any(|comparison| comparison.outcome == ComparisonOutcome::Different);
        if let (Some(error), false) = (unread, is_damaged) {
            drill.verdict = Verdict::NotDrilled;
            drill.why = if manifest.artifact.encryption.is_some() { error.to_string() } else { error.chain() };
            report.unfit.push(ErrorReport::from(&error));
        }
        let begun = Instant::now();
        for query in job.drill.queries.iter().filter(|_| !is_damaged) {
            if readable.contains(&&query.database) {
                drill.answers.push(query::run(&*examiner, query, &query.database, manifest.time.time()).await?);
            } else if !databases.contains(&query.database) {
                report.notes.push(unused_query(&query.database));
            }
        }
        if !drill.answers.is_empty() {
            drill.phases.push(phase("queries", begun));
        }
        Ok(())
    }
}

fn phase(name: &str, begun: Instant) -> Phase {
    Phase { name: name.to_owned(), seconds: seconds(begun), restores: false }
}

/// Reads the databases of a cluster.
struct Reader<'a> {
    cluster: &'a dyn ScratchCluster,
    examiner: &'a dyn Examine,
    /// The number of pages that were damaged before the backup.
    damaged_pages: u64,
}

/// The result of a database whose rows could not be read.
struct Unread {
    comparison: Comparison,
    /// The error if the cause may be the scratch server.
    not_drilled: Option<Error>,
}

impl Reader<'_> {
    /// Returns the databases that accept connections, and the others except `template0`, which is
    /// as initdb made it.
    async fn databases(&self) -> Result<(Vec<String>, Vec<String>)> {
        let mut rows = self.examiner.ask(MAINTENANCE[0], DATABASES).await;
        if rows.is_err() {
            rows = self.examiner.ask(MAINTENANCE[1], DATABASES).await;
        }
        let (mut open, mut closed) = (Vec::new(), Vec::new());
        for row in rows? {
            let mut columns = row.into_iter().flatten();
            match (columns.next(), columns.next().as_deref()) {
                (Some(name), Some("true")) => open.push(name),
                (Some(name), _) if name != "template0" => closed.push(name),
                _ => {}
            }
        }
        Ok((open, closed))
    }

    /// Checks the structure of a database. A check that fails proves nothing: reading decides.
    async fn check_structure(&self, database: &str, part: StructurePart) -> Vec<Comparison> {
        // Discard earlier failures, which belong to other work.
        self.cluster.failures().await;
        match self.examiner.check_structure(database, part).await {
            Ok(comparisons) => {
                let failures = self.cluster.failures().await;
                let explained = |found| unless_explained(found, self.damaged_pages, &failures);
                let all = comparisons.into_iter().map(explained);
                if part == StructurePart::Indexes { all.map(unless_of_index).collect() } else { all.collect() }
            }
            Err(error) => vec![uncompared(format!("database {database}"), "structure", error.chain())],
        }
    }

    /// Reads all rows of a database.
    async fn read(&self, database: &str) -> Result<Vec<Comparison>, Unread> {
        self.cluster.failures().await;
        match self.examiner.read(database).await {
            Ok(comparisons) => Ok(comparisons),
            Err(error) => Err(unread(database, &error, self.damaged_pages, &self.cluster.failures().await)),
        }
    }
}

/// Returns the comparison for a part that was not compared.
fn uncompared(subject: String, aspect: &str, reason: String) -> Comparison {
    let outcome = ComparisonOutcome::Not(reason);
    Comparison { subject, aspect: aspect.to_owned(), expected: None, found: None, outcome }
}

/// Returns the reason why damage may be no more than what is known, or the fault of the server.
fn explanation(damaged_pages: u64, failures: &[Failure]) -> Option<String> {
    if damaged_pages > 0 {
        return Some(format!("{damaged_pages} pages were damaged in the source when the backup was made"));
    }
    let is_of_server = !failures.is_empty() && !failures.iter().any(classify::proves_damaged_files);
    let codes: Vec<_> = failures.iter().map(|failure| failure.sqlstate.to_string()).collect();
    is_of_server.then(|| format!("the server of the drill failed for another reason: SQLSTATE {}", codes.join(", ")))
}

/// Returns the comparison, with damage replaced by its explanation, if there is one.
fn unless_explained(comparison: Comparison, damaged_pages: u64, failures: &[Failure]) -> Comparison {
    match (explanation(damaged_pages, failures), &comparison.outcome) {
        (Some(reason), ComparisonOutcome::Different) => {
            Comparison { outcome: ComparisonOutcome::Not(reason), ..comparison }
        }
        _ => comparison,
    }
}

/// Returns the comparison, with damage of indexes replaced by its explanation. The files equal
/// those of the source, so the index disagrees with its table there, too, and no rows are lost.
fn unless_of_index(comparison: Comparison) -> Comparison {
    match (&comparison.outcome, &comparison.found) {
        (ComparisonOutcome::Different, Some(found)) => {
            let reason = format!(
                "an index disagrees with its table, as in the source: REINDEX it there, and back up again: {found}"
            );
            Comparison { outcome: ComparisonOutcome::Not(reason), ..comparison }
        }
        _ => comparison,
    }
}

/// Returns the result of a database that could not be read: damaged if only damage explains a
/// failure.
fn unread(database: &str, error: &Error, damaged_pages: u64, failures: &[Failure]) -> Unread {
    let subject = format!("database {database}");
    if !failures.iter().any(classify::proves_damaged_files) {
        let comparison = uncompared(subject, "reading", error.chain());
        return Unread { comparison, not_drilled: Some(classify::files_not_drilled(error, failures)) };
    }
    let comparison = Comparison {
        subject,
        aspect: "reading".to_owned(),
        expected: Some("readable".to_owned()),
        found: Some(error.chain()),
        outcome: ComparisonOutcome::Different,
    };
    // The rows after a page that was damaged before are unread, so the drill proves nothing.
    let not_drilled = (damaged_pages > 0).then(|| classify::files_not_drilled(error, failures));
    Unread { comparison: unless_explained(comparison, damaged_pages, failures), not_drilled }
}

#[cfg(test)]
mod tests {
    use longshore_core::{Kind, SqlState, Stage};

    use super::*;

    fn failure(command: &str, code: &str) -> Failure {
        Failure { sqlstate: SqlState::parse(code).unwrap(), command: command.to_owned() }
    }

    fn dump_error() -> Error {
        Error::new(Stage::Verify, Kind::Failed, "shop", "pg_dump ended with exit status 1")
    }

    #[test]
    fn unreadable_rows_are_damage_unless_known() {
        let failures = [failure("COPY", "XX001")];
        let damaged = unread("shop", &dump_error(), 0, &failures);
        assert_eq!(damaged.comparison.outcome, ComparisonOutcome::Different);
        assert!(damaged.not_drilled.is_none());
        let known = unread("shop", &dump_error(), 3, &failures);
        let ComparisonOutcome::Not(reason) = known.comparison.outcome else { panic!("{:?}", known.comparison) };
        assert!(reason.starts_with("3 pages were damaged") && known.not_drilled.is_some(), "{reason}");
    }

    #[test]
    fn missing_library_is_not_damage() {
        for failures in [&[failure("COPY", "58P01")][..], &[]] {
            let Unread { comparison, not_drilled } = unread("shop", &dump_error(), 0, failures);
            assert!(matches!(comparison.outcome, ComparisonOutcome::Not(_)), "{comparison:?}");
            assert!(not_drilled.unwrap().remedy().is_some());
        }
    }

    #[test]
    fn damaged_index_is_no_damage_of_the_backup() {
        let found = Some("btree index \"i\": item order invariant violated".to_owned());
        let damaged =
            Comparison { outcome: ComparisonOutcome::Different, found, ..uncompared("x".into(), "y", String::new()) };
        let ComparisonOutcome::Not(reason) = unless_of_index(damaged).outcome else { panic!("it counts as damage") };
        assert!(reason.contains("REINDEX") && reason.contains("item order"), "{reason}");
        let sound = Comparison { outcome: ComparisonOutcome::Same, ..uncompared("x".into(), "y", String::new()) };
        assert_eq!(unless_of_index(sound).outcome, ComparisonOutcome::Same);
    }

    #[test]
    fn structural_damage_counts_unless_server_failed() {
        let found = Comparison { outcome: ComparisonOutcome::Different, ..uncompared("x".into(), "y", String::new()) };
        let outcome = |failures: &[Failure]| unless_explained(found.clone(), 0, failures).outcome;
        // Damage of a table is found without a failure in the server.
        assert_eq!(outcome(&[]), ComparisonOutcome::Different);
        assert_eq!(outcome(&[failure("SELECT", "58P01"), failure("SELECT", "XX002")]), ComparisonOutcome::Different);
        assert!(matches!(outcome(&[failure("SELECT", "58P01")]), ComparisonOutcome::Not(_)));
    }
}
