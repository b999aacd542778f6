//! `longshore schedule`: show when jobs are due, and let systemd or cron start them.

mod install;
mod start;

use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use longshore_core::Result;
use longshore_core::run_report::Outcome;
use longshore_core::unit::format_age;
use longshore_engine::schedule::{Host, TaskStatus, state_folder, status};

use crate::args::schedule::{Action, Root, Schedule, Show};
use crate::command::Context;
use crate::exit_code::Exit;
use crate::output::{Cell, Column, Output, Priority, State, Table};
use crate::signals::OrderlyStop;
use crate::time_zone::TimeZone;

pub(super) async fn schedule(context: &Context, args: &Schedule, stop: &OrderlyStop) -> Result<Exit> {
    match &args.action {
        None => show(context, &args.show),
        Some(Action::Install(args)) => install::install(context, args),
        Some(Action::Uninstall(args)) => install::uninstall(context, args),
        Some(Action::Start(args)) => start::start(context, args, stop).await,
    }
}

fn host(root: &Root) -> Host {
    root.root.clone().map_or_else(Host::this, Host::below)
}

fn show(context: &Context, args: &Show) -> Result<Exit> {
    let Context { config, output, .. } = context;
    let tasks = status(config, &host(&args.root), args.job.as_deref(), Utc::now())?;
    if args.json.json {
        return Ok(output.json(&tasks));
    }
    if tasks.is_empty() {
        output.note("no schedule");
        let job = args.job.as_ref().or_else(|| config.jobs.keys().next());
        let job = job.map_or("NAME", String::as_str);
        output.hint(format_args!("add schedule = \"0 3 * * *\" to [job.{job}] in {}", config.path.display()));
        return Ok(Exit::Done);
    }
    output.table(&table(&tasks, TimeZone::of(args.local.local)));
    warn(*output, &tasks);
    if tasks.iter().any(|task| task.last.is_none() && task.running_since.is_none()) {
        let folder = state_folder(config).map_or_else(|| "no folder".to_owned(), |it| it.display().to_string());
        output.note(format_args!("runs were looked for in {folder}, the state folder of this user"));
        output.hint("if another user runs the jobs, run `longshore schedule` as that user, or set state_dir");
    }
    Ok(Exit::Done)
}

/// Prints warnings about tasks that nothing starts, or that several programs start.
fn warn(output: Output, tasks: &[TaskStatus]) {
    if tasks.iter().any(|task| task.started_by.is_empty()) {
        output.note("no timer, line of cron or `longshore serve` was found that starts some of these tasks");
        output.hint("let systemd or cron start them: longshore schedule install");
    }
    for task in tasks.iter().filter(|task| task.started_by.len() > 1) {
        let names: Vec<String> = task.started_by.iter().map(ToString::to_string).collect();
        output.warning(format_args!("{} {} is started by {}", task.verb, task.job, names.join(" and by ")));
    }
}

fn table(tasks: &[TaskStatus], zone: TimeZone) -> Table {
    let now = Utc::now();
    let rows = tasks.iter().map(|task| {
        let names: Vec<String> = task.started_by.iter().map(ToString::to_string).collect();
        vec![
            task.job.as_str().into(),
            task.verb.name().into(),
            format!("{} {}", task.schedule, task.timezone).as_str().into(),
            task.next.map_or_else(|| "-".to_owned(), |next| zone.minute(next)).as_str().into(),
            last(task, now),
            match task.missed {
                0 => "-".into(),
                missed => Cell::coloured(State::Warning, &missed.to_string()),
            },
            match names.is_empty() {
                true => Cell::coloured(State::Warning, "nothing"),
                false => names.join(", ").as_str().into(),
            },
        ]
    });
    let columns = [
        Column::text("JOB"),
        Column::fixed("VERB"),
        Column::text("SCHEDULE").priority(Priority::Low),
        Column::fixed(format!("NEXT ({})", zone.name())),
        Column::sentence("LAST").min(12),
        Column::number("MISSED").unless_blank(),
        Column::text("STARTED BY").priority(Priority::High),
    ];
    Table::new(columns).rows(rows)
}

fn last(task: &TaskStatus, now: DateTime<Utc>) -> Cell {
    let age = |time: DateTime<Utc>| format_age((now - time).max(TimeDelta::zero()));
    if let Some(begun) = task.running_since {
        return format!("running for {}", age(begun)).as_str().into();
    }
    let Some(last) = &task.last else { return "never".into() };
    let state = match last.outcome {
        Outcome::Done => State::Done,
        Outcome::Partial => State::Partial,
        Outcome::Failed => State::Failed,
        Outcome::Damaged => State::Damaged,
        Outcome::Refused => State::Refused,
        Outcome::Locked => State::Locked,
        Outcome::Skipped => State::Skipped,
        Outcome::Interrupted => State::Interrupted,
        Outcome::Lost => State::Lost,
    };
    Cell::from(state).and(format!(" {} ago", age(last.ended.unwrap_or(last.begun))))
}

/// Returns the path of this program.
fn program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/usr/bin/longshore"))
}
