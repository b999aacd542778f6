//! The changes of a host that let systemd, cron or `longshore serve` start the tasks of a
//! configuration.

mod crontab;
mod serve;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use longshore_config::{Config, Job, NoticeChannel};
use longshore_core::error::printable;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_notify::Settings;
use longshore_schedule::calendar::on_calendar;
use longshore_schedule::{Task, Verb};
use nix::unistd::User;
use rustix::process::geteuid;

use super::change::Change;
use super::history::host_name;
use super::host::{Host, names, read};
use super::run_user::{expect_permitted, run_user};
use super::unit::{self, MARK, Manager, Sandbox, ServiceFacts, TimerFacts, unit_name};

/// The folder of the units that an administrator installs.
const SYSTEM_UNITS: &str = "etc/systemd/system";
/// The folder of links to enabled timers, within a folder of units.
const ENABLED: &str = "timers.target.wants";
/// The folder of the times at which persistent timers started.
const TIMER_STAMPS: &str = "var/lib/systemd/timers";
/// The program that starts tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduler {
    /// The system's systemd.
    Systemd,
    /// The systemd of the user.
    SystemdUser,
    /// cron.
    Cron,
    /// `longshore serve`, as a service of the system's systemd.
    Serve,
}

/// A request to install the schedule.
#[derive(Debug)]
pub struct Request<'a> {
    /// The only job to install; `None` for all.
    pub job: Option<&'a str>,
    /// The scheduler; `None` for the one of the host.
    pub scheduler: Option<Scheduler>,
    /// The user that runs the tasks; `None` for the one of the configuration.
    pub user: Option<&'a str>,
    /// True if services run without a sandbox.
    pub no_sandbox: bool,
    /// True if systemd also makes a run of each job at once.
    pub now: bool,
    /// The path of Longshore.
    pub program: &'a Path,
}

/// The changes that install or remove the schedule.
#[derive(Debug)]
pub struct Installation {
    /// The scheduler.
    pub scheduler: Scheduler,
    /// The user that runs the tasks; `None` for the user of this process.
    pub user: Option<String>,
    /// The home directory of that user.
    pub home: Option<PathBuf>,
    /// The changes, in order.
    pub changes: Vec<Change>,
    /// The tasks, each with its next due time.
    pub tasks: Vec<(Task, Option<DateTime<Utc>>)>,
    /// Settings that do not work when the tasks are started so.
    pub warnings: Vec<String>,
}

/// Returns the changes that let the scheduler start the scheduled tasks of one job, or of all.
///
/// # Errors
/// Fails if no task is scheduled, if the scheduler cannot express a schedule, or if a file of
/// another origin is in the way.
pub fn install(config: &Config, host: &Host, request: &Request<'_>, now: DateTime<Utc>) -> Result<Installation> {
    let jobs = scheduled_jobs(config, request.job)?;
    let installer = Installer::new(config, host, request, now)?;
    if let Some(user) = installer.user.as_ref().filter(|_| host.is_live()) {
        expect_permitted(user, request.program, &installer.path)?;
    }
    let tasks = |job: &Job| job.timetable.tasks(&job.name, &host_name());
    let all: Vec<(&Job, Task)> = jobs.iter().flat_map(|job| tasks(job).into_iter().map(|task| (*job, task))).collect();
    let changes = match installer.scheduler {
        Scheduler::Systemd | Scheduler::SystemdUser => {
            [installer.serve_removal()?, installer.cron_changes(&[])?, installer.unit_changes(&all)?]
        }
        Scheduler::Cron => [installer.serve_removal()?, installer.unit_changes(&[])?, installer.cron_changes(&all)?],
        Scheduler::Serve => [installer.unit_changes(&[])?, installer.cron_changes(&[])?, installer.serve_changes()?],
    }
    .concat();
    let changes = [changes, installer.first_runs(&jobs)?].concat();
    let tasks = all.into_iter().map(|(_, task)| {
        let next = task.schedule.next(now);
        (task, next)
    });
    let warnings = installer.warnings();
    let Installer { scheduler, user, .. } = installer;
    let (user, home) = user.map(|user| (user.name, user.dir)).unzip();
    Ok(Installation { scheduler, user, home, changes, tasks: tasks.collect(), warnings })
}

/// Returns the changes that remove what [`install`] installed.
///
/// # Errors
/// Fails if the job is unknown.
pub fn uninstall(config: &Config, host: &Host, request: &Request<'_>, now: DateTime<Utc>) -> Result<Installation> {
    if let Some(job) = request.job {
        config.job(Some(job))?;
    }
    let installer = Installer::new(config, host, request, now)?;
    let changes = [installer.serve_removal()?, installer.unit_changes(&[])?, installer.cron_changes(&[])?].concat();
    let Installer { scheduler, user, .. } = installer;
    let (user, home) = user.map(|user| (user.name, user.dir)).unzip();
    Ok(Installation { scheduler, user, home, changes, tasks: Vec::new(), warnings: Vec::new() })
}

/// Returns the jobs to install: the named one, or all with a schedule.
fn scheduled_jobs<'a>(config: &'a Config, job: Option<&str>) -> Result<Vec<&'a Job>> {
    let jobs: Vec<&Job> = match job {
        Some(name) => vec![config.job(Some(name))?],
        None => config.jobs.values().collect(),
    };
    let scheduled: Vec<&Job> = jobs.iter().copied().filter(|job| !job.timetable.schedules.is_empty()).collect();
    if !scheduled.is_empty() {
        return Ok(scheduled);
    }
    let (subject, name) = match job {
        Some(name) => (name, name),
        None => ("", config.jobs.keys().next().map_or("NAME", String::as_str)),
    };
    let message = if job.is_some() { "the job has no schedule" } else { "no job has a schedule" };
    Err(Error::new(Stage::Config, Kind::Usage, subject, message)
        .hint(format!("add schedule = \"0 3 * * *\" to [job.{name}] in {}", config.path.display())))
}

struct Installer<'a> {
    config: &'a Config,
    host: &'a Host,
    request: &'a Request<'a>,
    scheduler: Scheduler,
    /// The user that runs the tasks, if the scheduler is the system's.
    user: Option<User>,
    /// The absolute path of the configuration.
    path: PathBuf,
    now: DateTime<Utc>,
}

impl<'a> Installer<'a> {
    fn new(config: &'a Config, host: &'a Host, request: &'a Request<'a>, now: DateTime<Utc>) -> Result<Self> {
        let path = config.path.canonicalize().unwrap_or_else(|_| config.path.clone());
        let is_root = geteuid().is_root();
        let scheduler = match request.scheduler {
            Some(scheduler) => scheduler,
            None if host.has_systemd() && (is_root || host.crontab().is_none()) => Scheduler::Systemd,
            None if host.crontab().is_some() || is_root && host.path("etc/cron.d").is_dir() => Scheduler::Cron,
            None => {
                let message = "this host runs neither systemd nor cron";
                return Err(Error::new(Stage::Config, Kind::Refused, host_name(), message)
                    .hint("run `longshore serve`, which starts the jobs by itself, or pass --systemd or --cron"));
            }
        };
        if matches!(scheduler, Scheduler::Systemd | Scheduler::Serve) && host.is_live() && !is_root {
            let message = "only root can install units of the system";
            let command = format!("longshore --config {} schedule install", path.display());
            return Err(Error::new(Stage::Config, Kind::Denied, "--systemd", message).hint(format!(
                "run `{command}` as root: the tasks will run as the owner of the configuration; or pass --user or --cron"
            )));
        }
        let is_system = is_root && scheduler != Scheduler::SystemdUser;
        [&path, request.program].into_iter().try_for_each(expect_plain)?;
        let user = if is_system { Some(run_user(&path, request.user)?) } else { None };
        Ok(Self { config, host, request, scheduler, user, path, now })
    }

    /// Returns warnings about settings that the sandbox disables.
    fn warnings(&self) -> Vec<String> {
        if !matches!(self.scheduler, Scheduler::Systemd | Scheduler::Serve) || self.request.no_sandbox {
            return Vec::new();
        }
        let by_sendmail =
            |channel: &&NoticeChannel| matches!(&channel.settings, Settings::Mail(mail) if mail.host.is_none());
        let warning = |channel: &NoticeChannel| {
            format!(
                "notify \"{}\": sendmail cannot leave the sandbox of the services: set host, the SMTP server, or pass \
                 --no-sandbox",
                channel.name
            )
        };
        self.config.notify.values().filter(by_sendmail).map(warning).collect()
    }

    /// Returns the changes that run each of these jobs at once, if the request wants it. systemd
    /// waits for the runs.
    fn first_runs(&self, jobs: &[&Job]) -> Result<Vec<Change>> {
        if !self.request.now {
            return Ok(Vec::new());
        }
        let manager = match self.scheduler {
            Scheduler::Systemd => Manager::System,
            Scheduler::SystemdUser => Manager::User,
            Scheduler::Cron | Scheduler::Serve => {
                let message = "only timers of systemd can be started at once";
                return Err(Error::new(Stage::Config, Kind::Usage, "--now", message)
                    .hint("leave out --now, and make the first backup with `longshore run`"));
            }
        };
        let runs = jobs.iter().filter(|job| job.timetable.schedules.contains_key(&Verb::Run));
        let start =
            |job: &&Job| systemctl(manager, &["start", &format!("{}.service", unit_name(&job.name, Verb::Run))]);
        Ok(runs.map(start).collect())
    }

    /// Returns true if the changes concern a job.
    fn includes(&self, job: &str) -> bool {
        self.request.job.is_none_or(|only| only == job)
    }

    /// Returns the words of the command that starts a task.
    fn command(&self, task: &Task, more: &[&str]) -> Vec<String> {
        let program = self.request.program.display().to_string();
        let config = self.path.display().to_string();
        let words = [&program, "--config", &config, "schedule", "start", &task.job, task.verb.name()];
        words.iter().chain(more).map(|word| (*word).to_owned()).collect()
    }

    /// Returns the changes that replace the units of the configuration by those of these tasks.
    fn unit_changes(&self, tasks: &[(&Job, Task)]) -> Result<Vec<Change>> {
        let manager = match self.scheduler {
            Scheduler::SystemdUser => Manager::User,
            Scheduler::Systemd | Scheduler::Serve => Manager::System,
            Scheduler::Cron if geteuid().is_root() || !self.host.is_live() => Manager::System,
            Scheduler::Cron => Manager::User,
        };
        let folder = match manager {
            Manager::System => self.host.path(SYSTEM_UNITS),
            Manager::User => match self.host.user_units() {
                Some(folder) => folder,
                None if tasks.is_empty() => return Ok(Vec::new()),
                None => {
                    let message = "no folder for units: HOME is not set";
                    return Err(Error::new(Stage::Config, Kind::Failed, "--user", message).hint("set HOME"));
                }
            },
        };
        let systemctl = |words: &[&str]| systemctl(manager, words);
        let names_of = |tasks: &[(&Job, Task)]| -> BTreeSet<String> {
            tasks.iter().map(|(_, task)| unit_name(&task.job, task.verb)).collect()
        };
        let (wanted, mut changes) = (names_of(tasks), Vec::new());
        let stale: Vec<String> = self.installed_units(&folder)?.difference(&wanted).cloned().collect();
        for name in &stale {
            let timer = format!("{name}.timer");
            if !folder.join(&timer).exists() {
                // An uninstallation was interrupted: systemctl knows no such timer.
            } else if self.host.is_live() {
                changes.push(systemctl(&["disable", "--now", &timer]));
            } else {
                changes.push(Change::Remove { path: folder.join(ENABLED).join(&timer) });
            }
            changes.push(Change::Remove { path: folder.join(&timer) });
            changes.push(Change::Remove { path: folder.join(format!("{name}.service")) });
            if manager == Manager::System {
                // Else a later installation would start the task at once.
                changes.push(Change::Remove { path: self.host.path(TIMER_STAMPS).join(format!("stamp-{timer}")) });
            }
        }
        if manager == Manager::System && !tasks.is_empty() {
            self.expect_one_user(&folder)?;
        }
        let mut timers = Vec::new();
        for (job, task) in tasks {
            let name = unit_name(&task.job, task.verb);
            let [timer, service] = self.units(job, task, manager)?;
            for (suffix, text) in [("service", service), ("timer", timer)] {
                let path = folder.join(format!("{name}.{suffix}"));
                self.expect_own(&path)?;
                changes.push(Change::Write { path, text });
            }
            timers.push(format!("{name}.timer"));
        }
        if !self.host.is_live() {
            changes.extend(timers.iter().map(|timer| Change::Link {
                path: folder.join(ENABLED).join(timer),
                target: Path::new("..").join(timer),
            }));
        } else if !changes.is_empty() {
            changes.push(systemctl(&["daemon-reload"]));
            let timers: Vec<&str> = timers.iter().map(String::as_str).collect();
            if !timers.is_empty() {
                changes.push(systemctl(&[&["enable"], timers.as_slice()].concat()));
                // A timer that is active already starts with its new times.
                changes.push(systemctl(&[&["restart"], timers.as_slice()].concat()));
            }
        }
        Ok(changes)
    }

    /// Returns the names of the units of this configuration in a folder, without their suffix.
    fn installed_units(&self, folder: &Path) -> Result<BTreeSet<String>> {
        let jobs = |name: &str| {
            let (verb, job) = name.strip_prefix("longshore-")?.split_once('@')?;
            (Verb::of_name(verb).is_some() && self.includes(job)).then(|| name.to_owned())
        };
        let mut found = BTreeSet::new();
        for name in names(folder) {
            let Some(stem) = name.strip_suffix(".timer").or_else(|| name.strip_suffix(".service")) else { continue };
            let is_own = || read(&folder.join(&name)).is_some_and(|text| origin(&text) == Some(self.path.clone()));
            found.extend(jobs(stem).filter(|_| is_own()));
        }
        Ok(found)
    }

    /// Fails if a file exists that another configuration or program wrote.
    fn expect_own(&self, path: &Path) -> Result<()> {
        let Some(text) = read(path) else { return Ok(()) };
        let refused = |message: String, hint: String| {
            Err(Error::new(Stage::Config, Kind::Refused, path.display().to_string(), message).hint(hint))
        };
        match origin(&text) {
            Some(origin) if origin == self.path => Ok(()),
            Some(origin) => refused(
                format!("belongs to the configuration {}", origin.display()),
                format!(
                    "rename the job in one of the configurations, or run `longshore --config {} schedule uninstall`",
                    origin.display()
                ),
            ),
            None => refused(
                "exists, but `longshore schedule install` did not write it".to_owned(),
                "move the file away, or rename the job".to_owned(),
            ),
        }
    }

    /// Fails if units of another user exist: all units of Longshore share the folders of locks and
    /// state, which systemd gives to the user of the unit that it starts.
    fn expect_one_user(&self, folder: &Path) -> Result<()> {
        let Some(user) = &self.user else { return Ok(()) };
        for name in names(folder).iter().filter(|name| name.starts_with("longshore") && name.ends_with(".service")) {
            let Some(text) = read(&folder.join(name)).filter(|text| origin(text).is_some()) else { continue };
            let other = text.lines().find_map(|line| line.strip_prefix("User=")).unwrap_or("root");
            if origin(&text) != Some(self.path.clone()) && other != user.name {
                let message = format!("runs as \"{other}\", and these tasks would run as \"{}\"", user.name);
                return Err(Error::new(Stage::Config, Kind::Refused, folder.join(name).display().to_string(), message)
                    .hint(format!("pass --run-as {other}, or --cron: units share the folders of locks and state")));
            }
        }
        Ok(())
    }

    /// Returns the texts of the timer and the service of a task.
    fn units(&self, job: &Job, task: &Task, manager: Manager) -> Result<[String; 2]> {
        let calendar = on_calendar(&task.schedule, self.now)
            .map_err(|message| Error::new(Stage::Config, Kind::Usage, format!("job {}", job.name), message))?;
        let timer = TimerFacts {
            task,
            calendar: &calendar,
            jitter_seconds: job.timetable.jitter.duration().as_secs(),
            config: &self.path,
        };
        let (command, writable) = (self.command(task, &[]), self.writable(job));
        writable.iter().try_for_each(|folder| expect_plain(folder))?;
        let service = self.service_facts(&command, &writable, manager, task.verb == Verb::Drill);
        Ok([unit::timer(&timer), unit::service(task, &service)])
    }

    /// Returns the facts about a service.
    fn service_facts<'f>(
        &'f self,
        command: &'f [String],
        writable: &'f [PathBuf],
        manager: Manager,
        drills: bool,
    ) -> ServiceFacts<'f> {
        let user = self.user.as_ref();
        ServiceFacts {
            command,
            config: &self.path,
            manager,
            user: user.map(|user| user.name.as_str()),
            home: user.map(|user| user.dir.as_path()),
            writable,
            drills,
            sandbox: if self.request.no_sandbox { Sandbox::None } else { Sandbox::Strict },
        }
    }

    /// Returns the directories that the tasks of a job write to.
    fn writable(&self, job: &Job) -> Vec<PathBuf> {
        let destinations = job.ship.iter().filter_map(|name| self.config.destinations.get(name));
        // Another error of a destination is one of `check`.
        let stores = destinations.filter_map(|destination| destination.open().ok());
        let mut folders: BTreeSet<PathBuf> =
            stores.filter_map(|store| store.capabilities().folder.map(Path::to_owned)).collect();
        let settings = [&self.config.lock_dir, &self.config.state_dir, &job.site.scratch_dir];
        folders.extend(settings.into_iter().flatten().cloned());
        folders.extend(self.config.metrics_file.as_ref().and_then(|file| file.parent()).map(Path::to_owned));
        if self.user.as_ref().is_some_and(|user| user.uid.is_root()) {
            folders.insert(PathBuf::from("/var/spool/longshore"));
        }
        folders.into_iter().collect()
    }
}

/// Returns a change by systemctl.
fn systemctl(manager: Manager, words: &[&str]) -> Change {
    let user = if manager == Manager::User { &["--user"][..] } else { &[] };
    Change::run([&["systemctl"], user, words].concat())
}

/// Fails for a path that would end a line of a unit or of cron: root installs the units of a
/// configuration that another user may write.
fn expect_plain(path: &Path) -> Result<()> {
    if !path.to_string_lossy().contains(char::is_control) {
        return Ok(());
    }
    let message = "has a control character in its name, which no unit or line of cron can have";
    Err(Error::new(Stage::Config, Kind::Refused, printable(&path.to_string_lossy()), message).hint("rename it"))
}

/// Returns the configuration from which `schedule install` wrote a file.
fn origin(text: &str) -> Option<PathBuf> {
    Some(PathBuf::from(text.lines().next()?.strip_prefix(MARK)?.strip_suffix('.')?))
}
