//! `longshore schedule install` and `uninstall`.

use std::path::{Path, PathBuf};

use chrono::Utc;
use longshore_core::Result;
use longshore_engine::schedule::{self as engine, Change, Installation, Request, Scheduler};

use super::{host, program};
use crate::args::schedule::{Install, Uninstall};
use crate::command::{Context, default_config_path};
use crate::exit_code::Exit;
use crate::output::Output;

pub(super) fn install(context: &Context, args: &Install) -> Result<Exit> {
    let Context { config, output, .. } = context;
    let scheduler = match args {
        Install { serve: true, .. } => Some(Scheduler::Serve),
        Install { user: true, .. } => Some(Scheduler::SystemdUser),
        Install { systemd: true, .. } => Some(Scheduler::Systemd),
        Install { cron: true, .. } => Some(Scheduler::Cron),
        _ => None,
    };
    let program = program();
    let request = Request {
        job: args.job.as_deref(),
        scheduler,
        user: args.run_as.as_deref(),
        no_sandbox: args.no_sandbox,
        now: args.now,
        program: &program,
    };
    let installation = engine::install(config, &host(&args.root), &request, Utc::now())?;
    if args.print {
        print(*output, &installation.changes);
        return Ok(Exit::Done);
    }
    if args.now {
        output.note("running each job once; the runs continue if you interrupt this command");
    }
    apply(*output, &installation.changes)?;
    installation.warnings.iter().for_each(|warning| output.warning(warning));
    show(*output, &installation);
    match args.now {
        true => output.note(format_args!(
            "next: `longshore{} list`{} shows the backups",
            config_flag(&config.path, installation.home.as_deref()),
            installation.user.map(|user| format!(" as {user}")).unwrap_or_default()
        )),
        false => output.note("next: `longshore schedule` shows when each task is due, and when it ran last"),
    }
    Ok(Exit::Done)
}

pub(super) fn uninstall(context: &Context, args: &Uninstall) -> Result<Exit> {
    let Context { config, output, .. } = context;
    let program = program();
    let request = Request {
        job: args.job.as_deref(),
        scheduler: args.user.then_some(Scheduler::SystemdUser).or(Some(Scheduler::Cron)),
        user: None,
        no_sandbox: false,
        now: false,
        program: &program,
    };
    let installation = engine::uninstall(config, &host(&args.root), &request, Utc::now())?;
    if args.print {
        print(*output, &installation.changes);
        return Ok(Exit::Done);
    }
    apply(*output, &installation.changes)?;
    if installation.changes.is_empty() {
        output.note("nothing was installed");
    }
    Ok(Exit::Done)
}

/// Prints the files and commands.
fn print(output: Output, changes: &[Change]) {
    for change in changes {
        match change {
            Change::Write { path, text } => output.line(format_args!("==> {} <==\n{text}", path.display())),
            Change::Crontab { text } => output.line(format_args!("==> crontab <==\n{text}")),
            Change::Remove { .. } | Change::Link { .. } | Change::Run { .. } => output.line(format_args!("# {change}")),
        }
    }
}

fn apply(output: Output, changes: &[Change]) -> Result<()> {
    for change in changes.iter().filter(|change| !change.is_applied()) {
        change.apply()?;
        match change {
            Change::Write { path, .. } => output.line(format_args!("wrote {}", path.display())),
            Change::Remove { path } => output.line(format_args!("removed {}", path.display())),
            Change::Crontab { .. } => output.line("changed the crontab of this user"),
            Change::Link { .. } | Change::Run { .. } => {}
        }
    }
    Ok(())
}

/// Prints what starts when.
fn show(output: Output, installation: &Installation) {
    let Installation { scheduler, user, tasks, .. } = installation;
    let starter = match scheduler {
        Scheduler::Systemd => "systemd",
        Scheduler::SystemdUser => "the systemd of this user",
        Scheduler::Cron => "cron",
        Scheduler::Serve => "longshore serve",
    };
    let user = user.as_ref().map(|user| format!(" as {user}")).unwrap_or_default();
    for (task, next) in tasks {
        let zone = task.schedule.zone();
        let next = next.map_or_else(
            || "never".to_owned(),
            |next| next.with_timezone(&zone).format(&format!("%Y-%m-%d %H:%M {}", zone.name())).to_string(),
        );
        output.line(format_args!("{starter} starts {} {}{user}, next at {next}", task.verb, task.job));
    }
    match scheduler {
        Scheduler::SystemdUser => {
            output.note("timers of a user need lingering to run without a session: loginctl enable-linger");
        }
        Scheduler::Systemd | Scheduler::Serve => output.note("logs: journalctl --unit 'longshore*'"),
        Scheduler::Cron => {}
    }
}

/// Returns the flag that names a configuration; nothing if it is the default of the user with this
/// home directory, or of this process.
fn config_flag(path: &Path, home: Option<&Path>) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let default = match home {
        Some(home) if home == Path::new("/root") => PathBuf::from("/etc/longshore/config.toml"),
        Some(home) => home.join(".config/longshore/config.toml"),
        None => default_config_path(),
    };
    if path == default { String::new() } else { format!(" --config {}", path.display()) }
}
