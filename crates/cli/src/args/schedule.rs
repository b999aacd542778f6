//! `longshore schedule`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum, ValueHint};

use super::{Json, Local};

#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Schedule {
    #[command(subcommand)]
    pub(crate) action: Option<Action>,
    #[command(flatten)]
    pub(crate) show: Show,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Show {
    /// Show only this job.
    pub(crate) job: Option<String>,
    #[command(flatten)]
    pub(crate) root: Root,
    #[command(flatten)]
    pub(crate) local: Local,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Let systemd, cron or `longshore serve` start the jobs by their schedules.
    ///
    /// Writes a timer and a sandboxed service for each scheduled verb of each job, or lines of
    /// cron, and enables them. Run it again after each change of the schedules. Tasks of a
    /// configuration that root owns run as the user named like its group, if the group may read
    /// the file.
    Install(Install),
    /// Remove the timers or lines that `schedule install` wrote.
    Uninstall(Uninstall),
    /// Start a task as its timer does, with the retries of its schedule.
    Start(Start),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Install {
    /// The job to install [default: all jobs with a schedule].
    pub(crate) job: Option<String>,
    /// Write timers of systemd [default: if systemd runs this host].
    #[arg(long, conflicts_with = "cron")]
    pub(crate) systemd: bool,
    /// Write lines of cron: to /etc/cron.d/longshore as root, else to the crontab of the user.
    #[arg(long, conflicts_with = "user")]
    pub(crate) cron: bool,
    /// Write timers for the systemd of this user instead of the system's.
    #[arg(long, conflicts_with = "root")]
    pub(crate) user: bool,
    /// Write a service of systemd for `longshore serve`, which starts all jobs.
    #[arg(long, conflicts_with_all = ["systemd", "cron", "user", "job", "now"])]
    pub(crate) serve: bool,
    /// Also run each job at once, and wait for the end of the runs.
    #[arg(long, conflicts_with_all = ["cron", "root"])]
    pub(crate) now: bool,
    /// Run the tasks as this user [default: the owner of the configuration].
    #[arg(long, value_name = "USER", conflicts_with = "user")]
    pub(crate) run_as: Option<String>,
    /// Write services without a sandbox.
    #[arg(long)]
    pub(crate) no_sandbox: bool,
    /// Print the files and commands, and change nothing.
    #[arg(long)]
    pub(crate) print: bool,
    #[command(flatten)]
    pub(crate) root: Root,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Uninstall {
    /// The job to remove [default: all jobs of the configuration].
    pub(crate) job: Option<String>,
    /// Remove timers of the systemd of this user.
    #[arg(long)]
    pub(crate) user: bool,
    /// Print the changes, and change nothing.
    #[arg(long)]
    pub(crate) print: bool,
    #[command(flatten)]
    pub(crate) root: Root,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Start {
    /// The job.
    pub(crate) job: String,
    /// The verb.
    #[arg(value_enum)]
    pub(crate) verb: Verb,
    /// Wait first for the delay of this host, as jitter sets it.
    #[arg(long)]
    pub(crate) delayed: bool,
    /// Start only if the last due time was missed.
    #[arg(long, conflicts_with = "delayed")]
    pub(crate) missed: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Root {
    /// Examine or change the host whose files are below this directory, such as an image; start no
    /// program of it.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) root: Option<PathBuf>,
}

/// A verb that can be scheduled.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Verb {
    Run,
    Verify,
    Drill,
    Sync,
    Prune,
}

impl From<Verb> for longshore_schedule::Verb {
    fn from(verb: Verb) -> Self {
        match verb {
            Verb::Run => Self::Run,
            Verb::Verify => Self::Verify,
            Verb::Drill => Self::Drill,
            Verb::Sync => Self::Sync,
            Verb::Prune => Self::Prune,
        }
    }
}
