//! `longshore retention`: simulate retention policies.

mod axis;
mod chart;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use indicatif::HumanBytes;
use longshore_core::unit::format_age;
use longshore_core::{Error, Result, Stage};
use longshore_engine::simulate::{Differences, Scenario, Simulation, simulate as run};
use longshore_retention::{CalendarUnit, Policy, describe_reasons};
use serde::Serialize;

use crate::args::{Retention, Simulate};
use crate::command::Context;
use crate::exit_code::Exit;
use crate::output::{Column, Output, Priority, Table};

/// The inputs and the result of a simulation.
#[derive(Serialize)]
struct SimulationReport<'a> {
    policy: &'a str,
    rules: String,
    every: String,
    #[serde(flatten)]
    simulation: &'a Simulation,
}

pub(super) fn retention(context: &Context, what: &Retention) -> Result<Exit> {
    match what {
        Retention::Simulate(args) => simulate(context, args),
    }
}

fn simulate(context: &Context, args: &Simulate) -> Result<Exit> {
    let Context { config, output, .. } = context;
    let policy = config.policy(&args.policy)?;
    let end_of = |day: NaiveDate| midnight(day) + TimeDelta::days(1) - TimeDelta::seconds(1);
    let simulation = run(&Scenario {
        policy,
        start: midnight(args.start.unwrap_or_else(|| Utc::now().date_naive())),
        every: args.every,
        lasting: args.lasting,
        size: args.size,
        differences: args.full_every.map(|full_every| Differences { full_every, size: args.difference_size }),
        until: args.on.map(end_of),
    })?;
    let report = SimulationReport {
        policy: &args.policy,
        rules: policy.to_string(),
        every: args.every.to_string(),
        simulation: &simulation,
    };
    if let Some(path) = &args.svg {
        let title = format!("{}: a run every {}", args.policy, args.every);
        save(path, &chart::draw(&title, &report.rules, &simulation))?;
    }
    if args.json.json {
        return Ok(output.json(&report));
    }
    show(*output, policy, &report);
    if let Some(path) = &args.svg {
        output.note(format_args!("wrote {}", path.display()));
    }
    Ok(Exit::Done)
}

fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

/// Writes the chart to a new file.
fn save(path: &Path, chart: &str) -> Result<()> {
    let written = OpenOptions::new().write(true).create_new(true).open(path).and_then(|mut file| {
        file.write_all(chart.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| {
        let there = error.kind() == std::io::ErrorKind::AlreadyExists;
        let error = Error::io(Stage::Retention, path.display().to_string(), "cannot write the chart", error);
        if there { error.hint("pass a new file; files are never overwritten") } else { error }
    })
}

/// Prints the number of backups over time, and the backups at the end.
fn show(output: Output, policy: &Policy, report: &SimulationReport<'_>) {
    let simulation = report.simulation;
    let local = |time: DateTime<Utc>| time.with_timezone(&simulation.timezone);
    let sized = |bytes: Option<u64>| bytes.map(|bytes| HumanBytes(bytes).to_string());
    output.line(format_args!("policy {}: {}\n", report.policy, report.rules));
    let (heading, every) = steps(simulation.end - simulation.start);
    let ends = simulation.ends_of(every);
    let rows = ends.iter().map(|day| {
        vec![
            local(day.time).format("%Y-%m-%d").to_string().into(),
            day.backups.to_string().into(),
            sized(day.bytes).unwrap_or_default().into(),
            local(day.oldest).format("%Y-%m-%d").to_string().into(),
            format_age(day.time - day.oldest).into(),
        ]
    });
    let columns = [
        Column::fixed(heading),
        Column::number("BACKUPS"),
        Column::number("SIZE").priority(Priority::High).unless_blank(),
        Column::fixed("OLDEST").priority(Priority::High),
        Column::number("AGE").priority(Priority::Medium),
    ];
    output.table(&Table::new(columns).rows(rows));
    output.line(format_args!("\nafter the run of {}:\n", local(simulation.end).format("%a %Y-%m-%d %H:%M")));
    let rows = simulation.survivors.iter().map(|survivor| {
        vec![
            local(survivor.time).format("%a %Y-%m-%d %H:%M").to_string().into(),
            format_age(simulation.end - survivor.time).into(),
            if survivor.is_difference { "difference" } else { "" }.into(),
            describe_reasons(&survivor.reasons).into(),
        ]
    });
    let columns = [
        Column::fixed(format!("BACKUP ({})", simulation.timezone.name())),
        Column::number("AGE").priority(Priority::High),
        Column::fixed("TYPE").priority(Priority::High).unless_blank(),
        Column::sentence("KEPT BY"),
    ];
    output.table(&Table::new(columns).rows(rows));
    let comes_to = |bytes| sized(bytes).map(|size| format!(" ({size})")).unwrap_or_default();
    let left = simulation.survivors.len();
    output.line(format_args!(
        "\n{left} backups{} of {} runs; at most {}{} at once, between a run and its prune",
        comes_to(simulation.bytes()),
        simulation.runs,
        simulation.most,
        comes_to(simulation.most_bytes)
    ));
    if policy.max_total_size.is_some() && simulation.backup_bytes.is_none() {
        output.note("max_total_size is ignored without --size");
    }
}

/// Returns the heading and the step of the table over time, for a readable number of rows.
fn steps(span: TimeDelta) -> (&'static str, CalendarUnit) {
    match span.num_days() {
        ..=31 => ("END OF DAY", CalendarUnit::Day),
        32..=200 => ("END OF WEEK", CalendarUnit::Week),
        201..=1_500 => ("END OF MONTH", CalendarUnit::Month),
        1_501..=5_000 => ("END OF QUARTER", CalendarUnit::Quarter),
        _ => ("END OF YEAR", CalendarUnit::Year),
    }
}
