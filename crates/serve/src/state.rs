//! The state that requests read: replaced as a whole, never changed.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use longshore_config::Config;
use longshore_engine::overview::Overview;
use longshore_engine::status::Issue;
use longshore_page::live::Task;
use longshore_page::wal::Receiver;
use longshore_page::{Activity, Context};
use rustls::ServerConfig;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::access::{Access, Sessions};
use crate::guard::{Note, RateLimits};

/// The maximum time since the last tick of the loop.
const MAX_SILENCE: Duration = Duration::from_secs(60);
/// The maximum number of event streams.
const MAX_STREAMS: usize = 32;

/// The content of all pages at one time.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) config: Arc<Config>,
    pub(crate) overview: Option<Arc<Overview>>,
    /// The problems of the service itself.
    pub(crate) banners: Vec<String>,
    pub(crate) activity: Activity,
    pub(crate) access: Arc<Access>,
    /// The certificate for new connections; `None` without TLS.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// The problems that the service itself found.
    pub(crate) issues: Vec<Issue>,
    /// The receivers of WAL.
    pub(crate) receivers: Vec<Receiver>,
    /// True if the schedules could be evaluated; `None` if this service starts no job by itself.
    pub(crate) is_scheduling: Option<bool>,
    /// True if the last reload of the configuration succeeded.
    pub(crate) is_reloaded: bool,
}

/// The reply to a request for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunReply {
    /// The run was added to the queue.
    Accepted,
    /// The job is in the queue or runs.
    AlreadyQueued,
    /// The configuration has no such job.
    Unknown,
}

/// A request to run a job now.
pub(crate) struct RunRequest {
    pub(crate) job: String,
    pub(crate) reply: oneshot::Sender<RunReply>,
}

/// The state that all requests share.
pub(crate) struct Shared {
    view: RwLock<Arc<View>>,
    /// The tasks in progress and in the queue.
    pub(crate) tasks: watch::Sender<Vec<Task>>,
    pub(crate) sessions: Sessions,
    pub(crate) limits: RateLimits,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) requests: mpsc::Sender<RunRequest>,
    /// The lines for the log.
    notes: mpsc::UnboundedSender<String>,
    /// The time of the last tick of the loop.
    ticked: Mutex<Instant>,
    pub(crate) version: String,
}

impl Shared {
    pub(crate) fn new(
        view: View,
        requests: mpsc::Sender<RunRequest>,
        notes: mpsc::UnboundedSender<String>,
        version: &str,
    ) -> Self {
        Self {
            view: RwLock::new(Arc::new(view)),
            tasks: watch::Sender::default(),
            sessions: Sessions::default(),
            limits: RateLimits::default(),
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            requests,
            notes,
            ticked: Mutex::new(Instant::now()),
            version: version.to_owned(),
        }
    }

    /// Returns the current view.
    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the view.
    pub(crate) fn update(&self, change: impl FnOnce(&mut View)) {
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = View::clone(&view);
        change(&mut changed);
        *view = Arc::new(changed);
    }

    /// Writes a line about a client to the log, unless there was one within the last minute.
    pub(crate) fn note_client(&self, client: Option<IpAddr>, note: Note, line: impl FnOnce() -> String) {
        if self.limits.may_note(client, note) {
            // Without a receiver, the service has stopped.
            self.notes.send(line()).unwrap_or_default();
        }
    }

    /// Records that the loop works.
    pub(crate) fn tick(&self) {
        *self.ticked.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Returns true if the loop worked within the last minute.
    pub(crate) fn is_healthy(&self) -> bool {
        self.ticked.lock().unwrap_or_else(PoisonError::into_inner).elapsed() < MAX_SILENCE
    }
}

impl View {
    /// Returns the context of a page.
    pub(crate) fn context<'a>(&'a self, tasks: &'a [Task], version: &'a str) -> Context<'a> {
        Context {
            overview: self.overview.as_deref(),
            config: &self.config,
            now: chrono::Utc::now(),
            banners: &self.banners,
            tasks,
            issues: &self.issues,
            receivers: &self.receivers,
            activity: self.activity,
            version,
        }
    }
}
