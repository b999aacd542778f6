//! The loop of the service: refreshes the state, starts tasks, reloads, and stops.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use longshore_config::Config;
use longshore_config::serve::{Listen, Permission};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_engine::identity::identities;
use longshore_engine::notices::Notifier;
use longshore_engine::overview::{Overview, OverviewReader};
use longshore_page::Activity;
use longshore_page::live::{Progress, Task};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::access::Access;
use crate::child::{Ended, Running};
use crate::listener::{Listener, expect_protected};
use crate::options::Options;
use crate::planner::{Due, Planner};
use crate::routes::router;
use crate::state::{RunReply, RunRequest, Shared, View};

/// The time between two looks at the clock.
const TICK: Duration = Duration::from_secs(1);
/// The time after which a state is shown without destinations that have not answered, as long as
/// there is no complete one.
const PATIENCE: Duration = Duration::from_millis(500);
/// The maximum number of requests for runs that wait for the loop.
const MAX_REQUESTS: usize = 16;
/// The time that tasks have to clean up after SIGTERM.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves until `stop`, then waits for tasks in progress.
///
/// # Errors
///
/// Fails if the configuration is invalid, a token cannot be read, or the address is not available
/// or not protected.
pub async fn serve(options: Options<'_>, stop: impl Future<Output = ()>) -> Result<()> {
    let config = Arc::new((options.load)()?);
    let listen = options.listen.clone().unwrap_or_else(|| config.serve.listen.clone());
    expect_protected(&listen, &config.serve.auth)?;
    let access = Access::load(&config.serve.auth)?;
    let planner = planner(&config, options.may_run)?;
    let listener = Listener::open(&listen)?;
    let failed = |error| Error::io(Stage::Config, listen.to_string(), "cannot listen on it", error);
    let bound = listener.listen().map_err(failed)?;
    // A socket of the service manager may have another address than the configuration.
    expect_protected(&bound, &config.serve.auth)?;

    let (requests, received) = mpsc::channel(MAX_REQUESTS);
    let activity = activity(&config, options.may_run);
    let view = View {
        config: Arc::clone(&config),
        overview: None,
        banners: Vec::new(),
        activity,
        access: Arc::new(access),
        is_reloaded: true,
    };
    let shared = Arc::new(Shared::new(view, requests, options.version));
    let (stopping, stopped) = watch::channel(false);
    let accepting = tokio::spawn(listener.serve(router(Arc::clone(&shared)), stopped));
    match &bound {
        Listen::Tcp(address) => (options.note)(&format!("serving http://{address}/")),
        Listen::Unix(_) => (options.note)(&format!("serving {bound}")),
    }
    let identities = identities(options.identities, &config).await?;
    let reader = OverviewReader::new(config, options.registry, identities, options.tables);
    let (ended, ends) = mpsc::unbounded_channel();
    let service = Service {
        options,
        shared,
        reader: Rc::new(reader),
        planner,
        queue: VecDeque::new(),
        running: Vec::new(),
        ended,
        refresh: Refresh::Due,
        watched: Instant::now(),
        bound,
    };
    notify(&[NotifyState::Ready]);
    let result = service.run(stop, received, ends).await;
    // The acceptor ends with its sender, too.
    stopping.send(true).unwrap_or_default();
    accepting.await.unwrap_or_default();
    result
}

/// Waits for the end of a read, or forever without one.
async fn in_progress(read: &mut Option<LocalBoxFuture<'_, Result<()>>>) -> Result<()> {
    match read {
        Some(read) => read.await,
        None => std::future::pending().await,
    }
}

/// Returns the activities that the configuration permits.
fn activity(config: &Config, may_run: bool) -> Activity {
    match (may_run, config.serve.allow.contains(&Permission::Run), config.serve.schedule) {
        (true, true, _) => Activity::Run,
        (true, false, true) => Activity::Schedule,
        _ => Activity::View,
    }
}

/// Claims the scheduled tasks, if the configuration and the command line permit it.
fn planner(config: &Config, may_run: bool) -> Result<Option<Planner>> {
    (config.serve.schedule && may_run).then(|| Planner::claim(config)).transpose()
}

/// Notifies the service manager, if there is one.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("cannot notify the service manager: {error}");
    }
}

/// The next read of the destinations.
enum Refresh {
    /// The read begins now.
    Due,
    /// The read begins at this time.
    At(Instant),
    /// A read is in progress.
    InProgress,
    /// A read is in progress, and another one follows.
    Again,
}

/// The service, between two events.
struct Service<'a> {
    options: Options<'a>,
    shared: Arc<Shared>,
    reader: Rc<OverviewReader<'a>>,
    /// The scheduled tasks; `None` if this service starts none by itself.
    planner: Option<Planner>,
    /// The tasks to start, in order.
    queue: VecDeque<Due>,
    running: Vec<Running>,
    ended: mpsc::UnboundedSender<Ended>,
    refresh: Refresh,
    /// The time of the last notification of the watchdog.
    watched: Instant,
    /// The address of the socket, which a reload does not change.
    bound: Listen,
}

impl<'a> Service<'a> {
    async fn run(
        mut self,
        stop: impl Future<Output = ()>,
        mut requests: mpsc::Receiver<RunRequest>,
        mut ends: mpsc::UnboundedReceiver<Ended>,
    ) -> Result<()> {
        let failed = |error| Error::io(Stage::Config, "SIGHUP", "cannot listen for the signal", error);
        let mut hang_up = signal(SignalKind::hangup()).map_err(failed)?;
        let mut stop = std::pin::pin!(stop);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut read: Option<LocalBoxFuture<'a, Result<()>>> = None;
        loop {
            if read.is_none() {
                read = self.start_read();
            }
            tokio::select! {
                () = &mut stop => break,
                _ = ticks.tick() => self.tick(),
                _ = hang_up.recv() => {
                    if self.reload().await {
                        // A read of the old configuration must not replace one of the new.
                        read = None;
                        self.refresh = Refresh::Due;
                    }
                }
                Some(request) = requests.recv() => self.accept(request),
                Some(ended) = ends.recv() => self.end(&ended),
                result = in_progress(&mut read) => {
                    read = None;
                    self.finish_read(result);
                }
            }
            self.start_queued();
        }
        notify(&[NotifyState::Stopping]);
        drop(read);
        // From now on, requests for runs are refused at once.
        drop(requests);
        self.stop(ends).await;
        Ok(())
    }

    fn tick(&mut self) {
        self.shared.tick();
        if sd_notify::watchdog_enabled().is_some_and(|limit| self.watched.elapsed() >= limit / 3) {
            self.watched = Instant::now();
            notify(&[NotifyState::Watchdog]);
        }
        self.queue_due();
    }

    /// Adds the scheduled tasks that are due to the queue.
    fn queue_due(&mut self) {
        const BANNER: &str = "The schedules could not be evaluated: ";
        let Some(planner) = &mut self.planner else { return };
        let (view, shared) = (self.shared.view(), &self.shared);
        let begun = |verb: &str, job: &str| {
            let tasks = shared.tasks.borrow();
            tasks.iter().find(|task| task.verb == verb && task.job == job).map(|task| task.since)
        };
        let due = planner.due(&view.config, chrono::Utc::now(), begun);
        if let Ok(None) = due {
            return;
        }
        self.set_banner(BANNER, due.as_ref().err());
        due.into_iter().flatten().flatten().for_each(|due| self.enqueue(due));
    }

    /// Starts a read of the destinations if it is due.
    fn start_read(&mut self) -> Option<LocalBoxFuture<'a, Result<()>>> {
        let is_due = match self.refresh {
            Refresh::Due => true,
            Refresh::At(time) => time <= Instant::now(),
            Refresh::InProgress | Refresh::Again => false,
        };
        if !is_due {
            return None;
        }
        // Later, the last complete state is shown until all destinations have answered again.
        let is_complete = self.shared.view().overview.as_ref().is_some_and(|overview| overview.is_complete);
        let patience = if is_complete { None } else { Some(PATIENCE) };
        self.refresh = Refresh::InProgress;
        let (reader, shared) = (Rc::clone(&self.reader), Arc::clone(&self.shared));
        let note = self.options.note;
        let read = async move {
            let mut complete = None;
            let publish = |overview: Overview| {
                let overview = Arc::new(overview);
                complete = overview.is_complete.then(|| Arc::clone(&overview));
                shared.update(|view| view.overview = Some(overview));
                // Pages with an event stream learn of the new state.
                shared.tasks.send_modify(|_| {});
            };
            reader.read(patience, publish).await?;
            // Destinations that have not answered yet are no problem to report.
            if let Some(overview) = complete {
                let notifier = Notifier::of(&shared.view().config);
                notifier.status_seen(&overview.status).await.iter().for_each(|warning| note(warning));
            }
            Ok(())
        };
        Some(read.boxed_local())
    }

    fn finish_read(&mut self, result: Result<()>) {
        const BANNER: &str = "The state could not be evaluated: ";
        self.set_banner(BANNER, result.as_ref().err());
        self.refresh = match self.refresh {
            Refresh::Again => Refresh::Due,
            _ => Refresh::At(Instant::now() + self.shared.view().config.serve.refresh.duration()),
        };
    }

    /// Shows an error on all pages and notes it once, or removes it.
    fn set_banner(&self, beginning: &str, error: Option<&Error>) {
        let banner = error.map(|error| format!("{beginning}{}", error.chain()));
        let is_of_kind = |banner: &String| banner.starts_with(beginning);
        if self.shared.view().banners.iter().find(|banner| is_of_kind(banner)) == banner.as_ref() {
            return;
        }
        banner.iter().for_each(|banner| (self.options.note)(banner));
        self.shared.update(|view| {
            view.banners.retain(|banner| !is_of_kind(banner));
            view.banners.extend(banner);
        });
    }

    /// Makes a read begin now, or after the one in progress.
    fn request_read(&mut self) {
        self.refresh = match self.refresh {
            Refresh::InProgress | Refresh::Again => Refresh::Again,
            Refresh::Due | Refresh::At(_) => Refresh::Due,
        };
    }

    /// Reads the configuration again: whole, or not at all. Returns true if it was replaced.
    async fn reload(&mut self) -> bool {
        const BANNER: &str = "The configuration was not reloaded: ";
        let now = NotifyState::monotonic_usec_now().ok();
        notify(&[NotifyState::Reloading].into_iter().chain(now).collect::<Vec<_>>());
        let loaded = async {
            let config = Arc::new((self.options.load)()?);
            let listen = self.options.listen.as_ref().unwrap_or(&config.serve.listen);
            expect_protected(listen, &config.serve.auth)?;
            // The socket stays the same until a restart.
            expect_protected(&self.bound, &config.serve.auth)?;
            let access = Access::load(&config.serve.auth)?;
            let identities = identities(self.options.identities, &config).await?;
            // The lock is that of the configuration's path, and this service may hold it already.
            let planner = match self.planner.is_some() && config.serve.schedule {
                true => None,
                false => planner(&config, self.options.may_run)?,
            };
            Ok::<_, Error>((config, access, identities, planner))
        };
        let loaded = loaded.await;
        let is_loaded = loaded.is_ok();
        match loaded {
            Ok((config, access, identities, planner)) => {
                self.planner = self.planner.take().filter(|_| config.serve.schedule).or(planner);
                let activity = activity(&config, self.options.may_run);
                self.shared.update(|view| {
                    view.config = Arc::clone(&config);
                    view.access = Arc::new(access);
                    view.activity = activity;
                    view.is_reloaded = true;
                    view.banners.retain(|banner| !banner.starts_with(BANNER));
                });
                let reader = OverviewReader::new(config, self.options.registry, identities, self.options.tables);
                self.reader = Rc::new(reader);
                (self.options.note)("the configuration was reloaded");
            }
            Err(error) => {
                let banner = format!("{BANNER}{}", error.chain());
                (self.options.note)(&banner);
                self.shared.update(|view| {
                    view.banners.retain(|banner| !banner.starts_with(BANNER));
                    view.banners.push(banner);
                    view.is_reloaded = false;
                });
            }
        }
        notify(&[NotifyState::Ready]);
        is_loaded
    }

    /// Adds the run of a request to the queue.
    fn accept(&mut self, request: RunRequest) {
        let view = self.shared.view();
        let is_busy = self.shared.tasks.borrow().iter().any(|task| task.verb == RUN && task.job == request.job);
        let reply = if view.activity != Activity::Run || !view.config.jobs.contains_key(&request.job) {
            RunReply::Unknown
        } else if is_busy {
            RunReply::AlreadyQueued
        } else {
            let arguments = vec![RUN.to_owned(), request.job.clone()];
            self.enqueue(Due { verb: RUN.to_owned(), job: request.job, arguments });
            RunReply::Accepted
        };
        // The client may have closed its connection.
        request.reply.send(reply).unwrap_or_default();
    }

    fn enqueue(&mut self, due: Due) {
        let task = Task {
            verb: due.verb.clone(),
            job: due.job.clone(),
            since: chrono::Utc::now(),
            is_waiting: true,
            progress: Progress::default(),
        };
        self.shared.tasks.send_modify(|tasks| tasks.push(task));
        self.queue.push_back(due);
    }

    /// Starts tasks of the queue, as many as may run at once.
    fn start_queued(&mut self) {
        while self.running.len() < self.shared.view().config.serve.runs_at_once {
            let Some(Due { verb, job, arguments }) = self.queue.pop_front() else { return };
            self.shared.tasks.send_modify(|tasks| {
                if let Some(task) = tasks.iter_mut().find(|task| task.verb == verb && task.job == job) {
                    (task.is_waiting, task.since) = (false, chrono::Utc::now());
                }
            });
            let tasks = self.shared.tasks.clone();
            match Running::start(&self.options.program, (&verb, &job), &arguments, tasks, self.ended.clone()) {
                Ok(task) => self.running.push(task),
                Err(error) => {
                    (self.options.note)(&format!(
                        "{verb} {job}: cannot start {}: {error}",
                        self.options.program.binary.display()
                    ));
                    if let Some(planner) = &mut self.planner {
                        planner.end(&verb, &job, chrono::Utc::now(), None);
                    }
                    self.forget(&verb, &job);
                }
            }
        }
    }

    /// Removes a task that has ended, and refreshes the state.
    fn end(&mut self, ended: &Ended) {
        match &ended.status {
            Ok(status) => (self.options.note)(&format!("{} {}: {status}", ended.verb, ended.job)),
            Err(error) => (self.options.note)(&format!("{} {}: cannot be observed: {error}", ended.verb, ended.job)),
        }
        self.show_invalid(ended);
        if let Some(planner) = &mut self.planner {
            planner.end(&ended.verb, &ended.job, ended.begun, ended.status.as_ref().ok());
        }
        self.running.retain(|task| (&task.verb, &task.job) != (&ended.verb, &ended.job));
        self.forget(&ended.verb, &ended.job);
        self.request_read();
    }

    /// Shows on all pages that a task ended before it began, since it leaves no report: its
    /// configuration is invalid.
    fn show_invalid(&self, ended: &Ended) {
        const BANNER: &str = "A task could not begin: ";
        let is_usage = ended.status.as_ref().is_ok_and(|status| status.code() == Some(USAGE));
        let error = is_usage.then(|| {
            let task = format!("{} {}", ended.verb, ended.job);
            Error::new(Stage::Config, Kind::Usage, task, "ended with exit code 1; `longshore config check` shows why")
        });
        self.set_banner(BANNER, error.as_ref());
        if is_usage {
            // The file is not the configuration that is in force.
            self.shared.update(|view| view.is_reloaded = false);
        }
    }

    fn forget(&self, verb: &str, job: &str) {
        self.shared.tasks.send_modify(|tasks| {
            tasks.retain(|task| task.verb != verb || task.job != job);
        });
    }

    /// Waits for tasks in progress, and ends those that take too long.
    async fn stop(mut self, mut ends: mpsc::UnboundedReceiver<Ended>) {
        if self.running.is_empty() {
            return;
        }
        let limit = self.shared.view().config.serve.stop_timeout;
        (self.options.note)(&format!("waiting up to {limit} for tasks in progress"));
        if timeout(limit.duration(), self.wait_for_tasks(&mut ends)).await.is_err() {
            self.running.iter().for_each(Running::terminate);
            if timeout(CLEANUP_TIMEOUT, self.wait_for_tasks(&mut ends)).await.is_err() {
                (self.options.note)("tasks are still cleaning up");
            }
        }
    }

    async fn wait_for_tasks(&mut self, ends: &mut mpsc::UnboundedReceiver<Ended>) {
        while !self.running.is_empty() {
            let Some(ended) = ends.recv().await else { return };
            self.end(&ended);
        }
    }
}

/// The exit code of a task whose configuration is invalid.
const USAGE: i32 = 1;
/// The verb that makes backups.
const RUN: &str = "run";

#[cfg(test)]
mod tests {
    use longshore_config::serve::{Auth, ServeSettings};

    use super::*;

    #[test]
    fn unprotected_address_is_refused() {
        let check = |listen: &str, auth: &Auth| expect_protected(&listen.parse().unwrap(), auth);
        assert_eq!(check("0.0.0.0:80", &Auth::Loopback).unwrap_err().kind(), Kind::Usage);
        assert_eq!(check("[::]:80", &Auth::Loopback).unwrap_err().kind(), Kind::Usage);
        check("0.0.0.0:80", &Auth::None).unwrap();
        check("0.0.0.0:80", &Auth::Tokens(Vec::new())).unwrap();
        check("127.0.0.1:80", &Auth::Loopback).unwrap();
        check("unix:/run/x", &Auth::Loopback).unwrap();
    }

    #[test]
    fn jobs_run_only_if_the_configuration_permits_it() {
        let config = |schedule, allow: &[Permission]| Config {
            serve: ServeSettings { schedule, allow: allow.to_vec(), ..ServeSettings::default() },
            ..Config::default()
        };
        assert_eq!(activity(&config(false, &[]), true), Activity::View);
        assert_eq!(activity(&config(true, &[]), true), Activity::Schedule);
        assert_eq!(activity(&config(true, &[Permission::Run]), true), Activity::Run);
        assert_eq!(activity(&config(true, &[Permission::Run]), false), Activity::View);
    }
}
