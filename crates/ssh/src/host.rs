//! A host with one shared connection, made on first use and again after it is lost.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use longshore_core::Result;
use openssh::{OwningCommand, Session, Stdio};
use tokio::sync::{Mutex, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use crate::failure;
use crate::master;
use crate::running::{Running, listen};
use crate::settings::Reach;

/// The maximum number of uploads and downloads on one connection at a time. sshd allows ten
/// sessions by default, and takes a moment to count an ended session out. Transfers may take hours,
/// so they leave room for other commands.
pub const STREAMS: usize = 5;
const ERRANDS: usize = 2;

/// The maximum number of attempts to start a command. If a host allows one command per connection,
/// each concurrent command needs a connection of its own.
const ATTEMPTS: usize = STREAMS + ERRANDS + REFUSALS;
/// The number of refused commands after which a connection is replaced. A refusal may be temporary,
/// while the host still counts an ended command.
const REFUSALS: usize = 3;
/// The wait after a refused command.
const MOMENT: Duration = Duration::from_millis(100);

/// A host. All commands share one connection.
#[derive(Debug)]
pub struct Host {
    reach: Reach,
    connection: Arc<Mutex<Option<Arc<Session>>>>,
    streams: Arc<Semaphore>,
    errands: Arc<Semaphore>,
}

/// The kind of a command, which decides its limit on concurrent commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A transfer of a body.
    Stream,
    /// A short command.
    Errand,
}

impl Host {
    /// Returns a host without a connection.
    pub fn new(reach: Reach) -> Self {
        let [streams, errands] = [STREAMS, ERRANDS].map(|places| Arc::new(Semaphore::new(places)));
        Self { reach, connection: Arc::default(), streams, errands }
    }

    /// Returns the same host with a connection that ends after `limit` without an answer.
    pub fn stalling_at_most(&self, limit: Duration) -> Self {
        Self::new(Reach { stall_timeout: limit, ..self.reach.clone() })
    }

    /// Returns the time without an answer after which the connection ends.
    pub fn stall_timeout(&self) -> Duration {
        self.reach.stall_timeout
    }

    /// Returns the host's name in errors.
    pub fn name(&self) -> &str {
        &self.reach.host
    }

    /// Returns the connection, and connects first if necessary.
    pub async fn session(&self) -> Result<Arc<Session>> {
        if let Ok(connection) = self.connection.try_lock()
            && let Some(session) = &*connection
        {
            return Ok(Arc::clone(session));
        }
        // A task holds the lock, because a caller that is not polled would block the others. The
        // task is aborted when its caller is dropped.
        let (connection, reach) = (Arc::clone(&self.connection), self.reach.clone());
        let attempt = AbortOnDropHandle::new(tokio::spawn(async move {
            let mut connection = connection.lock().await;
            if let Some(session) = &*connection {
                return Ok(Arc::clone(session));
            }
            let session = Arc::new(master::connect(&reach).await?);
            Ok(Arc::clone(connection.insert(session)))
        }));
        attempt.await.unwrap_or_else(|error| Err(failure::lost(self.name()).because(error)))
    }

    /// Drops a failed connection, unless it was replaced already. Other users of the connection
    /// keep it.
    pub async fn forget(&self, session: &Arc<Session>) {
        let mut connection = self.connection.lock().await;
        if connection.as_ref().is_some_and(|known| Arc::ptr_eq(known, session)) {
            *connection = None;
        }
    }

    /// Starts a command line in the account's shell.
    pub async fn start(&self, line: &str, place: Place) -> Result<Running> {
        self.run(|session| session.arc_raw_command(line), place).await
    }

    /// Starts a subsystem, such as `sftp`.
    pub async fn subsystem(&self, name: &str) -> Result<Running> {
        self.run(|session| Session::to_subsystem(session, name), Place::Stream).await
    }

    /// Starts a command built by `command`, and reconnects if the connection was lost.
    async fn run(
        &self,
        command: impl Fn(Arc<Session>) -> OwningCommand<Arc<Session>>,
        place: Place,
    ) -> Result<Running> {
        let places = match place {
            Place::Stream => &self.streams,
            Place::Errand => &self.errands,
        };
        let place =
            Arc::clone(places).acquire_owned().await.map_err(|error| failure::lost(self.name()).because(error))?;
        let mut failed = None;
        for attempt in 0..ATTEMPTS {
            let session = self.session().await?;
            let mut command = command(Arc::clone(&session));
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            match command.spawn().await {
                Ok(mut child) => {
                    let (stdin, stdout) = (child.stdin().take(), child.stdout().take());
                    let words = child.stderr().take().map(|stderr| tokio::spawn(listen(stderr)));
                    let words = words.unwrap_or_else(|| tokio::spawn(async { String::new() }));
                    return Ok(Running { host: self.name().to_owned(), child, words, _place: place, stdin, stdout });
                }
                Err(error) => {
                    if attempt < REFUSALS && matches!(error, openssh::Error::SshMux(_)) {
                        tokio::time::sleep(MOMENT).await;
                    } else {
                        // The connection is lost, or the host allows fewer commands per connection.
                        // A new connection helps in both cases.
                        self.forget(&session).await;
                    }
                    failed = Some(error);
                }
            }
        }
        let lost = failure::lost(self.name());
        Err(failed.map_or(lost.clone(), |error| lost.because(error)))
    }

    /// Returns the command line with which another program runs `ssh` over this connection. If the
    /// connection is lost, that `ssh` makes one with the same options.
    pub async fn rsh(&self) -> Result<Vec<OsString>> {
        let socket = self.session().await?.control_socket().to_owned();
        let mut words: Vec<OsString> = ["ssh", "-S"].map(OsString::from).into();
        words.push(socket.into());
        words.extend(master::options(&self.reach));
        Ok(words)
    }
}
