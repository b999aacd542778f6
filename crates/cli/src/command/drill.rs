//! `longshore drill`: test that backups can be restored.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use longshore_core::drill::{ComparisonOutcome, Drill, Verdict};
use longshore_core::plugin::Scripts;
use longshore_core::{Error, Result, Stage};
use longshore_engine::catalogs::parse_time;
use longshore_engine::drill::{Driller, Report, Request};
use longshore_engine::encryption_policy::Unsealed;
use longshore_engine::wal::recovery::RecoveryTarget;

use crate::args;
use crate::command::restore::LATEST;
use crate::command::short_name::{ShortName, Times, backup_column, full_name, name_column};
use crate::command::{Context, expect_readable, given_identities};
use crate::exit_code::Exit;
use crate::output::{Cell, Column, Output, Priority, State, Table};
use crate::progress;
use crate::time_zone::TimeZone;

/// The number of differences to print; the record contains all.
const MAX_DIFFERENCES: usize = 20;

/// The word for a random moment.
const RANDOM: &str = "random";

/// Returns the target of `--recover-to`.
fn recovery_target(text: &str) -> Result<RecoveryTarget> {
    Ok(match text {
        LATEST => RecoveryTarget::Latest,
        RANDOM => RecoveryTarget::Between(fastrand::f64()),
        time => RecoveryTarget::Time(parse_time(time)?),
    })
}

pub(super) async fn drill(context: &Context, args: &args::Drill) -> Result<Exit> {
    let Context { config, registry, output, recorder, .. } = context;
    // Create the file first, to fail before an hour of work if it cannot be written.
    let report_file = args.report.as_ref().map(|path| ReportFile::new(path)).transpose()?;
    // The job may have identities for its drills, which take precedence over the configuration.
    expect_readable(&args.identity)?;
    let identities = given_identities(&args.identity);
    let backup = match &args.backup {
        Some(words) => Some(full_name(config, words, args.from.as_deref()).await?),
        None => None,
    };
    let counter = progress::counter(*output);
    let driller = Driller {
        config,
        registry,
        identities: &identities,
        jobs: args.jobs,
        scripts: if args.trust_script { Scripts::Trusted } else { Scripts::Harmless },
        scratch_dir: args.scratch_dir.as_deref(),
        unsealed: if args.allow_unsealed { Unsealed::Allowed } else { Unsealed::Refused },
        recover_to: args.recover_to.as_deref().map(recovery_target).transpose()?,
        observer: context.observed(counter.clone())?,
    };
    let request = Request {
        job: args.job.clone(),
        from: args.from.clone(),
        backup,
        at: args.at.as_deref().map(parse_time).transpose()?,
    };
    let drilled = driller.drill(&request).await;
    counter.finish();
    let report = drilled?;
    recorder.record(&report);
    if let Some(report_file) = report_file {
        report_file.finish(&longshore_page::drills::report(&report, env!("CARGO_PKG_VERSION")))?;
    }
    if args.json.json {
        output.json(&report);
    } else {
        print_report(*output, &report);
    }
    for drill in report.drills.iter().filter(|drill| drill.verdict == Verdict::Damaged) {
        let hint = format!(
            "restore from another backup, and run the job again; if the backup is good, withdraw the mark: `longshore mark {} --withdraw`",
            drill.backup
        );
        output.problem(
            &format!("{}: damaged: {}", drill.backup, longshore_core::error::printable(&drill.why)),
            Some(&hint),
        );
    }
    for passed_over in &report.passed_over {
        let hint = "run `longshore verify` for the cause, and run the job again";
        output.problem(&longshore_core::error::printable(passed_over), Some(hint));
    }
    for problem in report.refused.iter().chain(&report.unfit) {
        output.problem(&problem.message, problem.hint.as_deref());
    }
    for problem in &report.unmarked {
        output.warning(format_args!("the result could not be stored as a mark of the backup: {}", problem.message));
    }
    if let Some(problem) = &report.left {
        output.problem(&problem.message, problem.hint.as_deref());
    }
    Ok(match report.verdict() {
        Verdict::Damaged | Verdict::Unrestorable => Exit::Damaged,
        _ if !report.passed_over.is_empty() => Exit::Damaged,
        _ if !report.refused.is_empty() => Exit::Refused,
        Verdict::NotDrilled => Exit::Failed,
        Verdict::Good if report.left.is_some() => Exit::Failed,
        Verdict::Good if report.missing.is_some() => Exit::Partial,
        Verdict::Good => Exit::Done,
    })
}

/// Prints the result as text.
fn print_report(output: Output, report: &Report) {
    for note in &report.notes {
        output.note(note);
    }
    output.table(&table(&report.drills));
    for drill in &report.drills {
        let series = longshore_core::error::printable(&ShortName::of(&drill.backup).series);
        for (comparison, reason) in drill.not_compared().take(MAX_DIFFERENCES) {
            output.note(format_args!(
                "{series}: {}: {} not compared: {reason}",
                longshore_core::error::printable(&comparison.subject),
                comparison.aspect
            ));
        }
        for (subject, line) in differences(drill).into_iter().take(MAX_DIFFERENCES) {
            output.line(format_args!(
                "{series}: {}: {}",
                longshore_core::error::printable(&subject),
                longshore_core::error::printable(&line)
            ));
        }
    }
    if let Some(drill) = report.drills.first() {
        output.note(format_args!("from \"{}\" into {}", report.destination, drill.scratch));
    }
}

fn table(drills: &[Drill]) -> Table {
    let names: Vec<ShortName> = drills.iter().map(|drill| ShortName::of(&drill.backup)).collect();
    let times = Times::of(TimeZone::of(false), &names);
    let rows = drills.iter().zip(&names).map(|(drill, name)| {
        let (state, details) = result(drill.verdict, std::slice::from_ref(drill));
        vec![
            name.series.as_str().into(),
            times.cell(name),
            format!("{:.1} s", drill.restore_seconds()).into(),
            Cell::from(state).and(details),
            drill.backup.as_str().into(),
        ]
    });
    let columns = [
        backup_column(),
        times.column(),
        Column::number("RESTORE").priority(Priority::Medium),
        Column::sentence("RESULT").min(32),
        name_column(),
    ];
    Table::new(columns).rows(rows)
}

/// Returns the state that a verdict on these drills means, and the details.
fn result(verdict: Verdict, drills: &[Drill]) -> (State, String) {
    let compared: u64 = drills.iter().map(|drill| drill.compared).sum();
    let different: u64 = drills.iter().map(|drill| drill.different).sum();
    match verdict {
        Verdict::Good if compared == 0 => (State::Restored, "; nothing was compared".to_owned()),
        Verdict::Good => {
            let equal: usize = drills.iter().map(equal).sum();
            let objects = if equal == 1 { "object" } else { "objects" };
            (State::RestoredAndCompared, format!(": {equal} {objects} equal"))
        }
        Verdict::Damaged | Verdict::Unrestorable if different > 0 => {
            (State::Damaged, format!(": {different} of {compared} comparisons differ"))
        }
        Verdict::Damaged | Verdict::Unrestorable => (State::Damaged, String::new()),
        Verdict::NotDrilled => (State::NotDrilled, String::new()),
    }
}

/// Returns the number of equal objects and of expected query results.
fn equal(drill: &Drill) -> usize {
    let same = drill.comparisons.iter().filter(|comparison| comparison.outcome == ComparisonOutcome::Same);
    same.count() + drill.answers.iter().filter(|answer| answer.good).count()
}

/// Returns the subjects that differ, each with the expected and the found value.
fn differences(drill: &Drill) -> Vec<(String, String)> {
    let text_or_nothing = |text: &Option<String>| text.clone().unwrap_or_else(|| "nothing".to_owned());
    let different = drill.comparisons.iter().filter(|comparison| comparison.outcome == ComparisonOutcome::Different);
    let compared = different.map(|comparison| {
        let (expected, found) = (text_or_nothing(&comparison.expected), text_or_nothing(&comparison.found));
        (comparison.subject.clone(), format!("{}: expected {expected}, found {found}", comparison.aspect))
    });
    let answers = drill.answers.iter().filter(|answer| !answer.good).map(|answer| {
        let line = format!("{}: expected {}, found {}", answer.query, answer.expected, answer.found);
        (format!("query of {}", answer.database), line)
    });
    compared.chain(answers).collect()
}

/// A new file, removed on drop unless finished.
struct ReportFile {
    name: String,
    file: std::fs::File,
    unfinished: Option<std::path::PathBuf>,
}

impl ReportFile {
    fn new(path: &std::path::Path) -> Result<Self> {
        let name = path.display().to_string();
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|error| Error::io(Stage::Drill, &name, "cannot create the report", error))?;
        Ok(Self { name, file, unfinished: Some(path.to_owned()) })
    }

    fn finish(mut self, text: &str) -> Result<()> {
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_all());
        written.map_err(|error| Error::io(Stage::Drill, &self.name, "cannot write the report", error))?;
        self.unfinished = None;
        Ok(())
    }
}

impl Drop for ReportFile {
    fn drop(&mut self) {
        if let Some(path) = &self.unfinished {
            // The file is empty or partial. The drill has already failed with an error.
            std::fs::remove_file(path).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn drill(outcomes: &[&str]) -> Drill {
        let comparison = |outcome: &&str| json!({ "subject": "table t", "aspect": "rows", "outcome": outcome });
        let record = json!({
            "longshore": "0.1.0",
            "by": "root@db1",
            "backup": "main/shop/shop-2026-06-07_091500",
            "destination": "disk",
            "started": "2026-06-08T04:00:00Z",
            "finished": "2026-06-08T04:01:00Z",
            "verdict": "good",
            "scratch": "initdb",
            "phases": [],
            "compared": outcomes.len(),
            "different": outcomes.iter().filter(|outcome| **outcome == "different").count(),
            "comparisons": outcomes.iter().map(comparison).collect::<Vec<_>>(),
        });
        serde_json::from_value(record).unwrap()
    }

    #[test]
    fn result_counts_objects() {
        let equal = result(Verdict::Good, &[drill(&["same", "same"]), drill(&["same"])]);
        assert_eq!(equal, (State::RestoredAndCompared, ": 3 objects equal".to_owned()));
        let nothing = result(Verdict::Good, &[drill(&[])]);
        assert_eq!(nothing, (State::Restored, "; nothing was compared".to_owned()));
        let damaged = result(Verdict::Damaged, &[drill(&["same", "different"])]);
        assert_eq!(damaged, (State::Damaged, ": 1 of 2 comparisons differ".to_owned()));
        assert_eq!(result(Verdict::NotDrilled, &[]), (State::NotDrilled, String::new()));
    }
}
