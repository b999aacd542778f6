//! `longshore schedule start`: a task as its timer starts it, with retries.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use chrono::{DateTime, TimeDelta, Utc};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_engine::schedule::{arguments, histories, host_name};
use longshore_schedule::{Action, History, Reason, Task, Verb, plan};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::program;
use crate::args::schedule::Start;
use crate::command::Context;
use crate::exit_code::Exit;
use crate::signals::OrderlyStop;

pub(super) async fn start(context: &Context, args: &Start, stop: &OrderlyStop) -> Result<Exit> {
    let Context { config, output, .. } = context;
    let (job, verb) = (config.job(Some(&args.job))?, Verb::from(args.verb));
    let mut tasks = job.timetable.tasks(&job.name, &host_name()).into_iter();
    let task = tasks.find(|task| task.verb == verb).ok_or_else(|| {
        let message = format!("the schedule of the job has no \"{verb}\"");
        let example = if verb == Verb::Run { "run = \"0 3 * * *\"" } else { "{VERB} = \"0 5 * * sun\"" };
        let example = example.replace("{VERB}", verb.name());
        Error::new(Stage::Config, Kind::Usage, &job.name, message).hint(format!(
            "add {example} to [job.{}.schedule] in {}",
            job.name,
            config.path.display()
        ))
    })?;
    if args.missed && !is_missed(context, &task)? {
        output.note(format_args!("{verb} {} was not missed", job.name));
        return Ok(Exit::Done);
    }
    let mut stopped = std::pin::pin!(stop.supported());
    if args.delayed {
        tokio::select! {
            () = tokio::time::sleep(task.delay.to_std().unwrap_or_default()) => {}
            () = &mut stopped => return Ok(Exit::Terminated),
        }
    }
    let mut attempt = 0;
    loop {
        let mut child = child(context, &arguments(job, verb))?;
        let ended = tokio::select! {
            ended = child.wait() => ended,
            () = &mut stopped => {
                terminate(&child);
                let ended = child.wait().await;
                return Ok(exit(ended.map_err(cannot_run)?).unwrap_or(Exit::Terminated));
            }
        };
        let exit = exit(ended.map_err(cannot_run)?);
        // A run that was killed has no exit code.
        let is_retried = matches!(exit, None | Some(Exit::Failed | Exit::Locked));
        if !is_retried || attempt == task.retry {
            return Ok(exit.unwrap_or(Exit::Failed));
        }
        attempt += 1;
        let wait = task.retry_wait.to_std().unwrap_or_default();
        output.warning(format_args!(
            "{verb} {} failed; retry {attempt} of {} in {}",
            job.name, task.retry, job.timetable.retry_wait
        ));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = &mut stopped => return Ok(exit.unwrap_or(Exit::Failed)),
        }
    }
}

/// Returns true if the last due time of a task was missed: cron starts no task that was due before
/// the host had booted.
fn is_missed(context: &Context, task: &Task) -> Result<bool> {
    let now = Utc::now();
    let histories = histories(&context.config, Some(&task.job))?;
    let Some(found) = histories.iter().find(|found| found.task.verb == task.verb) else { return Ok(false) };
    // A task that never ran has missed the last due time. Only cron delays starts here.
    let (since, task) = (chrono::DateTime::UNIX_EPOCH, Task { delay: TimeDelta::zero(), ..task.clone() });
    let booted = now - TimeDelta::seconds(rustix::system::sysinfo().uptime);
    let decided = plan(&task, &History { runs: &found.runs, running: found.running, since }, now);
    Ok(was_missed(&decided.action, booted))
}

/// Returns true if cron, which began at `booted`, has not started a task that is due.
fn was_missed(action: &Action, booted: DateTime<Utc>) -> bool {
    match action {
        Action::Start { reason: Reason::Missed, .. } => true,
        Action::Start { due, .. } => *due < booted,
        Action::Wait | Action::Running { .. } => false,
    }
}

/// Starts Longshore with these arguments. Only this process gets the signals of a terminal, and
/// forwards them.
fn child(context: &Context, arguments: &[String]) -> Result<Child> {
    let mut command = Command::new(program());
    command.arg("--config").arg(&context.config.path);
    if context.output.is_quiet() {
        command.arg("--quiet");
    }
    command.args(arguments).process_group(0).kill_on_drop(true);
    command.spawn().map_err(cannot_run)
}

fn cannot_run(error: std::io::Error) -> Error {
    Error::io(Stage::Config, program().display().to_string(), "cannot run the task", error)
}

/// Asks the child to end, and to clean up.
fn terminate(child: &Child) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // Fails only if the child has ended.
        kill_process(pid, Signal::TERM).ok();
    }
}

/// Returns the exit code of a child, or `None` if a signal killed it.
fn exit(status: ExitStatus) -> Option<Exit> {
    let code = status.code().filter(|_| status.signal().is_none())?;
    let known = [
        Exit::Done,
        Exit::Usage,
        Exit::Failed,
        Exit::Partial,
        Exit::Damaged,
        Exit::Locked,
        Exit::Refused,
        Exit::Bug,
        Exit::HungUp,
        Exit::Interrupted,
        Exit::Terminated,
    ];
    Some(known.into_iter().find(|exit| *exit as i32 == code).unwrap_or(Exit::Failed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_that_was_due_before_the_boot_was_missed() {
        let booted: DateTime<Utc> = "2026-06-07T03:00:30Z".parse().unwrap();
        let start = |due: &str, reason| Action::Start { due: due.parse().unwrap(), reason };
        // The host was off for a minute at the due time, which is no delay that counts by itself.
        assert!(was_missed(&start("2026-06-07T03:00:00Z", Reason::Due), booted));
        // Cron starts this one itself.
        assert!(!was_missed(&start("2026-06-07T03:01:00Z", Reason::Due), booted));
        assert!(was_missed(&start("2026-06-06T03:00:00Z", Reason::Missed), booted));
        assert!(!was_missed(&Action::Wait, booted) && !was_missed(&Action::Running { skipped: None }, booted));
    }
}
