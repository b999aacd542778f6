//! The loop of the service: refreshes the state, starts tasks, reloads, and stops.

mod reload;
mod tasks;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use longshore_config::Config;
use longshore_config::serve::{Listen, Permission};
use longshore_core::{Error, Result, Stage};
use longshore_engine::identity::identities;
use longshore_engine::notices::Notifier;
use longshore_engine::overview::{Overview, OverviewReader, RunningRuns};
use longshore_page::Activity;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::access::Access;
use crate::child::{Ended, Running};
use crate::listener::{Listener, expect_protected};
use crate::options::Options;
use crate::planner::{Due, Planner};
use crate::receivers::{ReceiverEvent, Receivers};
use crate::routes::router;
use crate::state::{RunRequest, Shared, View};
use crate::tls;

/// The time between two looks at the clock.
const TICK: Duration = Duration::from_secs(1);
/// The time after which a state is shown without destinations that have not answered, as long as
/// there is no complete one.
const PATIENCE: Duration = Duration::from_millis(500);
/// The maximum number of requests for runs that wait for the loop.
const MAX_REQUESTS: usize = 16;

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
    let tls = tls::load(&config.serve)?;
    let planner = planner(&config, options.may_run)?;
    let listener = Listener::open(&listen)?;
    let failed = |error| Error::io(Stage::Config, listen.to_string(), "cannot listen on it", error);
    let bound = listener.listen().map_err(failed)?;
    // A socket of the service manager may have another address than the configuration.
    expect_protected(&bound, &config.serve.auth)?;

    let (requests, received_requests) = mpsc::channel(MAX_REQUESTS);
    let activity = activity(&config, options.may_run);
    let scheme = if tls.is_some() { "https" } else { "http" };
    let view = View {
        config: Arc::clone(&config),
        overview: None,
        banners: Vec::new(),
        activity,
        access: Arc::new(access),
        tls,
        issues: Vec::new(),
        receivers: Vec::new(),
        is_scheduling: planner.as_ref().map(|_| true),
        is_reloaded: true,
    };
    let (notes, noted) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared::new(view, requests, notes, options.version));
    let (stopping, stopped) = watch::channel(false);
    let accepting = tokio::spawn(listener.serve(router(Arc::clone(&shared)), Arc::clone(&shared), stopped));
    // From the first line of the log on, a reload is not lost.
    let hang_up = signal(SignalKind::hangup())
        .map_err(|error| Error::io(Stage::Config, "SIGHUP", "cannot listen for the signal", error))?;
    match &bound {
        Listen::Tcp(address) => (options.note)(&format!("serving {scheme}://{address}/")),
        Listen::Unix(_) => (options.note)(&format!("serving {bound}")),
    }
    if !options.may_run && config.serve.allow.contains(&Permission::Run) {
        (options.note)("--no-schedule: starts no job, although allow = [\"run\"] permits it");
    }
    let identities = identities(options.identities, &config).await?;
    let running_runs = RunningRuns::of(&config);
    let (ended, ends) = mpsc::unbounded_channel();
    let (receiver_events, of_receivers) = mpsc::unbounded_channel();
    let mut receivers = Receivers::new(receiver_events);
    receivers.configure(received(&config, options.may_run));
    let reader = OverviewReader::new(config, options.registry, identities, options.tables);
    let service = Service {
        options,
        shared,
        reader: Rc::new(reader),
        planner,
        queue: VecDeque::new(),
        running: Vec::new(),
        running_runs,
        unreported: BTreeMap::new(),
        schedule_error: None,
        receivers,
        ended,
        refresh: Refresh::Due,
        watched: Instant::now(),
        bound,
    };
    notify(&[NotifyState::Ready]);
    let result = service.run(stop, hang_up, received_requests, noted, (ends, of_receivers)).await;
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

/// Returns the clusters whose WAL the service receives, if the command line permits it.
fn received(config: &Config, may_run: bool) -> impl Iterator<Item = &String> {
    config.serve.wal_receive.iter().filter(move |_| may_run)
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
    /// The runs in progress on this host, by any program.
    running_runs: RunningRuns,
    /// The tasks that failed without a report: verb, job, begin, and the reason.
    unreported: BTreeMap<(String, String), (DateTime<Utc>, String)>,
    /// The error of the last evaluation of the schedules.
    schedule_error: Option<String>,
    receivers: Receivers,
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
        mut hang_up: Signal,
        mut requests: mpsc::Receiver<RunRequest>,
        mut notes: mpsc::UnboundedReceiver<String>,
        (mut ends, mut of_receivers): (mpsc::UnboundedReceiver<Ended>, mpsc::UnboundedReceiver<ReceiverEvent>),
    ) -> Result<()> {
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
                Some(event) = of_receivers.recv() => self.receive(event),
                Some(note) = notes.recv() => (self.options.note)(&note),
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
        self.stop(ends, of_receivers).await;
        Ok(())
    }

    fn tick(&mut self) {
        self.shared.tick();
        if sd_notify::watchdog_enabled().is_some_and(|limit| self.watched.elapsed() >= limit / 3) {
            self.watched = Instant::now();
            notify(&[NotifyState::Watchdog]);
        }
        self.show_others();
        self.queue_due();
        let view = self.shared.view();
        self.receivers.tick(&view.config, &self.options.program);
        self.show_receivers();
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
        self.schedule_error = due.as_ref().err().map(Error::chain);
        self.shared.update(|view| view.is_scheduling = Some(due.is_ok()));
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
            let publish = |mut overview: Overview| {
                overview.status.add(shared.view().issues.iter().cloned());
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
        self.forget_reported();
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
}

#[cfg(test)]
mod tests {
    use longshore_config::serve::{Auth, Credentials, ServeSettings};
    use longshore_core::Kind;

    use super::*;

    #[test]
    fn unprotected_address_is_refused() {
        let check = |listen: &str, auth: &Auth| expect_protected(&listen.parse().unwrap(), auth);
        assert_eq!(check("0.0.0.0:80", &Auth::Loopback).unwrap_err().kind(), Kind::Usage);
        assert_eq!(check("[::]:80", &Auth::Loopback).unwrap_err().kind(), Kind::Usage);
        check("0.0.0.0:80", &Auth::None).unwrap();
        check("0.0.0.0:80", &Auth::Required(Credentials::default())).unwrap();
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
