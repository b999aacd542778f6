//! `longshore prune --explain`: the calendar of each series, each backup with the reason to keep or
//! remove it, and totals.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use indicatif::HumanBytes;
use longshore_core::error::printable;
use longshore_core::key::BackupName;
use longshore_engine::prune::{Mode, Pruned, SeriesPruned};
use longshore_engine::sweep::Swept;
use longshore_retention::Reason;

use super::calendar::{Day, LEGEND, draw};
use super::table::{print_notes, print_wal, sweep_reason};
use crate::command::short_name::{name_column, series_name};
use crate::output::{Column, Output, Priority, State, Table};

pub(super) fn explain(output: Output, all: &[Pruned]) {
    if all.is_empty() {
        output.note("no job has a retention policy, and nothing is adopted");
    }
    for pruned in all {
        if pruned.error.is_none() && pruned.series.is_empty() {
            output.note(format_args!("no backups at \"{}\"", pruned.destination));
        }
        for series in &pruned.series {
            explain_series(output, &pruned.destination, series);
        }
        if !pruned.swept.is_empty() {
            output.line(format_args!("{}: files of interrupted uploads\n", pruned.destination));
            let row =
                |swept: &Swept| vec![swept.name.as_str().into(), State::WouldRemove.into(), sweep_reason(swept).into()];
            let columns = [Column::text("FILE").min(24), Column::fixed("DECISION"), Column::sentence("REASON")];
            output.table(&Table::new(columns).rows(pruned.swept.iter().map(row)));
            output.line("");
        }
    }
    print_wal(output, all, Mode::DryRun);
    print_notes(output, all);
}

/// One backup of a series, with its decision.
struct Row<'a> {
    name: &'a BackupName,
    time: DateTime<Utc>,
    bytes: u64,
    day: Day,
    why: String,
}

fn explain_series(output: Output, destination: &str, series: &SeriesPruned) {
    let rows = rows(series);
    let local = |row: &Row<'_>| row.time.with_timezone(&series.timezone);
    output.line(format_args!(
        "{destination}: {}, {} {}\npolicy: {}\n",
        printable(&series_name(&series.cluster, &series.subject)),
        if series.adopted { "adopt" } else { "job" },
        series.job,
        series.policy
    ));
    let mut days: BTreeMap<NaiveDate, Day> = BTreeMap::new();
    for row in &rows {
        let day = days.entry(local(row).date_naive()).or_insert(Day::Empty);
        *day = row.day.max(*day);
    }
    for line in draw(&days) {
        output.line(line);
    }
    output.line(format_args!("         {LEGEND}\n"));
    let cells = |row: &Row<'_>| {
        vec![
            local(row).format("%a %Y-%m-%d %H:%M").to_string().into(),
            HumanBytes(row.bytes).to_string().into(),
            if row.day == Day::Removed { State::WouldRemove } else { State::Kept }.into(),
            row.why.as_str().into(),
            row.name.as_str().into(),
        ]
    };
    let columns = [
        Column::fixed(format!("TIME ({})", series.timezone.name())),
        Column::number("SIZE").priority(Priority::High),
        Column::fixed("DECISION"),
        Column::sentence("REASON"),
        name_column(),
    ];
    output.table(&Table::new(columns).rows(rows.iter().map(cells)));
    output.line(format_args!("\n{}\n", totals(&rows)));
}

/// Returns the backups of a series, oldest first, as in every list.
fn rows(series: &SeriesPruned) -> Vec<Row<'_>> {
    let keep = series.keep.iter().map(|kept| Row {
        name: &kept.name,
        time: kept.time,
        bytes: kept.bytes,
        day: match series.refused.is_some() || kept.reasons.iter().any(needs_attention) {
            true => Day::NeedsAttention,
            false => Day::Kept,
        },
        why: super::keep_reason(series, &kept.reasons),
    });
    let remove = series.remove.iter().map(|removed| Row {
        name: &removed.name,
        time: removed.time,
        bytes: removed.bytes,
        day: Day::Removed,
        why: removed.cause.to_string(),
    });
    let mut all: Vec<_> = keep.chain(remove).collect();
    all.sort_by(|one, other| (one.time, one.name).cmp(&(other.time, other.name)));
    all
}

fn needs_attention(reason: &Reason) -> bool {
    matches!(reason, Reason::NotGood | Reason::FutureDated | Reason::Unproven)
}

/// Returns the numbers and sizes of kept and removed backups.
fn totals(rows: &[Row<'_>]) -> String {
    let total = |is_removed: bool| {
        let those = || rows.iter().filter(|row| (row.day == Day::Removed) == is_removed);
        (those().count(), HumanBytes(those().map(|row| row.bytes).sum()))
    };
    let ((kept, kept_bytes), (removed, freed_bytes)) = (total(false), total(true));
    format!("{kept} kept ({kept_bytes}), {removed} to remove ({freed_bytes})")
}

#[cfg(test)]
mod tests {
    use longshore_core::key::Timestamp;
    use longshore_engine::prune::{Kept, Removed};
    use longshore_retention::{Policy, RemoveReason};

    use super::*;

    #[test]
    fn counts_kept_and_removed_and_flags_damaged_backups() {
        let name = |stamp| BackupName::new("main", "app", Timestamp::parse(stamp).unwrap()).unwrap();
        let time = |stamp| Timestamp::parse(stamp).unwrap().time();
        let kept = |stamp, reasons| Kept { name: name(stamp), bytes: 1024, time: time(stamp), reasons };
        let (first, second, third) = ("2026-06-05_030000", "2026-06-06_030000", "2026-06-07_030000");
        let series = SeriesPruned {
            cluster: "main".to_owned(),
            subject: "app".to_owned(),
            job: "nightly".to_owned(),
            adopted: false,
            policy: Policy::default().to_string(),
            timezone: Policy::default().timezone,
            keep: vec![kept(third, vec![Reason::Newest, Reason::Last]), kept(first, vec![Reason::NotGood])],
            remove: vec![Removed {
                name: name(second),
                bytes: 512,
                time: time(second),
                cause: RemoveReason::NoRule,
                why: None,
            }],
            failed: Vec::new(),
            refused: None,
            ahead: Vec::new(),
            ended: None,
        };
        let rows = rows(&series);
        let shown: Vec<_> = rows.iter().map(|row| (row.time, row.day, row.why.as_str())).collect();
        assert_eq!(
            shown,
            [
                (time(first), Day::NeedsAttention, "damaged: run `longshore verify`"),
                (time(second), Day::Removed, "no rule keeps it"),
                (time(third), Day::Kept, "newest, last"),
            ]
        );
        assert_eq!(totals(&rows), "2 kept (2.00 KiB), 1 to remove (512 B)");
    }
}
