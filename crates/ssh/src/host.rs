//! A host: connected when it is first needed, once for all, and anew when the connection has died.

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

/// How many commands one connection carries at a time; sshd allows ten unless it is told otherwise, and takes a moment to count one out that
/// has ended. Those that bodies pass through may take hours, so they leave room for the others.
pub const STREAMS: usize = 5;
const ERRANDS: usize = 2;

/// How many connections are tried for one command. Where a host allows but one command each, all who want one at a time come by theirs.
const ATTEMPTS: usize = STREAMS + ERRANDS + REFUSALS;
/// How many refusals of one more command a connection survives: the host may only have counted one in that has ended.
const REFUSALS: usize = 3;
/// How long to wait after one.
const MOMENT: Duration = Duration::from_millis(100);

/// A host. All that is done there shares one connection.
#[derive(Debug)]
pub struct Host {
    reach: Reach,
    connection: Arc<Mutex<Option<Arc<Session>>>>,
    streams: Arc<Semaphore>,
    errands: Arc<Semaphore>,
}

/// How long a command will take its place on the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// As long as a body takes.
    Stream,
    /// A moment.
    Errand,
}

impl Host {
    /// A host that nobody has talked to yet.
    pub fn new(reach: Reach) -> Self {
        let [streams, errands] = [STREAMS, ERRANDS].map(|places| Arc::new(Semaphore::new(places)));
        Self { reach, connection: Arc::default(), streams, errands }
    }

    /// The same host, whose connection ends when it is silent for `limit`.
    pub fn stalling_at_most(&self, limit: Duration) -> Self {
        Self::new(Reach { stall_timeout: limit, ..self.reach.clone() })
    }

    /// Returns the time that it may be silent.
    pub fn stall_timeout(&self) -> Duration {
        self.reach.stall_timeout
    }

    /// What errors call it.
    pub fn name(&self) -> &str {
        &self.reach.host
    }

    /// The connection, made if there is none.
    pub async fn session(&self) -> Result<Arc<Session>> {
        if let Ok(connection) = self.connection.try_lock()
            && let Some(session) = &*connection
        {
            return Ok(Arc::clone(session));
        }
        // A task holds the lock, so that a caller that is not polled keeps no other waiting. It ends with its caller.
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

    /// Forgets a connection that did not serve, unless another has taken its place. Whoever still uses it keeps it.
    pub async fn forget(&self, session: &Arc<Session>) {
        let mut connection = self.connection.lock().await;
        if connection.as_ref().is_some_and(|known| Arc::ptr_eq(known, session)) {
            *connection = None;
        }
    }

    /// Starts a command: a line for the account's shell.
    pub async fn start(&self, line: &str, place: Place) -> Result<Running> {
        self.run(|session| session.arc_raw_command(line), place).await
    }

    /// Starts a subsystem, such as `sftp`.
    pub async fn subsystem(&self, name: &str) -> Result<Running> {
        self.run(|session| Session::to_subsystem(session, name), Place::Stream).await
    }

    /// Runs what `command` makes of a session. A connection that has died is made anew.
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
                        // It has died, or the host allows fewer commands at a time: another connection serves in both cases.
                        self.forget(&session).await;
                    }
                    failed = Some(error);
                }
            }
        }
        let lost = failure::lost(self.name());
        Err(failed.map_or(lost.clone(), |error| lost.because(error)))
    }

    /// The words with which another program runs `ssh` over this connection; should that have died, over one that is made as this one was.
    pub async fn rsh(&self) -> Result<Vec<OsString>> {
        let socket = self.session().await?.control_socket().to_owned();
        let mut words: Vec<OsString> = ["ssh", "-S"].map(OsString::from).into();
        words.push(socket.into());
        words.extend(master::options(&self.reach));
        Ok(words)
    }
}
