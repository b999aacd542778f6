//! A host with one shared connection, made on first use and again after it is lost.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use longshore_core::Result;
use openssh::{OwningCommand, Session, Stdio};
use tokio::sync::{Mutex, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use crate::control_master;
use crate::failure;
use crate::process::{CommandLog, Process, read_tail};
use crate::settings::ConnectOptions;

/// The maximum number of uploads and downloads on one connection at a time. sshd allows ten
/// sessions by default, and takes a moment to count an ended session out. Transfers may take hours,
/// so they leave room for other commands.
pub const MAX_TRANSFERS: usize = 5;
const MAX_COMMANDS: usize = 2;

/// The maximum number of attempts to start a command. If a host allows one command per connection,
/// each concurrent command needs a connection of its own.
const MAX_ATTEMPTS: usize = MAX_TRANSFERS + MAX_COMMANDS + MAX_REFUSALS;
/// The number of refused commands after which a connection is replaced. A refusal may be temporary,
/// while the host still counts an ended command.
const MAX_REFUSALS: usize = 3;
/// The wait after a refused command.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// A host. All commands share one connection.
#[derive(Debug)]
pub struct Host {
    options: ConnectOptions,
    connection: Arc<Mutex<Option<Arc<Session>>>>,
    transfers: Arc<Semaphore>,
    commands: Arc<Semaphore>,
}

/// The kind of a command, which decides its limit on concurrent commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// A transfer of a body.
    Transfer,
    /// A short command.
    Command,
}

impl Host {
    /// Returns a host without a connection.
    pub fn new(options: ConnectOptions) -> Self {
        let [transfers, commands] = [MAX_TRANSFERS, MAX_COMMANDS].map(|limit| Arc::new(Semaphore::new(limit)));
        Self { options, connection: Arc::default(), transfers, commands }
    }

    /// Returns the time without an answer after which the connection ends.
    pub fn stall_timeout(&self) -> Duration {
        self.options.stall_timeout
    }

    /// Returns the host's name in errors.
    pub fn name(&self) -> &str {
        &self.options.host
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
        let (connection, options) = (Arc::clone(&self.connection), self.options.clone());
        let attempt = AbortOnDropHandle::new(tokio::spawn(async move {
            let mut connection = connection.lock().await;
            if let Some(session) = &*connection {
                return Ok(Arc::clone(session));
            }
            let session = Arc::new(control_master::connect(&options).await?);
            Ok(Arc::clone(connection.insert(session)))
        }));
        attempt.await.unwrap_or_else(|error| Err(failure::connection_lost(self.name()).because(error)))
    }

    /// Drops a failed connection, unless it was replaced already. Other users of the connection
    /// keep it.
    pub async fn invalidate(&self, session: &Arc<Session>) {
        let mut connection = self.connection.lock().await;
        if connection.as_ref().is_some_and(|current| Arc::ptr_eq(current, session)) {
            *connection = None;
        }
    }

    /// Starts a command line in the account's shell. `name` is the command's name in the log.
    pub async fn start(&self, line: &str, name: &str, channel: Channel) -> Result<Process> {
        self.run(|session| session.arc_raw_command(line), name, channel).await
    }

    /// Starts a subsystem, such as `sftp`.
    pub async fn subsystem(&self, name: &str) -> Result<Process> {
        self.run(|session| Session::to_subsystem(session, name), name, Channel::Transfer).await
    }

    /// Starts a command built by `command`, and reconnects if the connection was lost.
    async fn run(
        &self,
        command: impl Fn(Arc<Session>) -> OwningCommand<Arc<Session>>,
        name: &str,
        channel: Channel,
    ) -> Result<Process> {
        let semaphore = match channel {
            Channel::Transfer => &self.transfers,
            Channel::Command => &self.commands,
        };
        let permit = Arc::clone(semaphore)
            .acquire_owned()
            .await
            .map_err(|error| failure::connection_lost(self.name()).because(error))?;
        let mut failed = None;
        for attempt in 0..MAX_ATTEMPTS {
            let session = self.session().await?;
            let mut command = command(Arc::clone(&session));
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            match command.spawn().await {
                Ok(mut child) => {
                    let (stdin, stdout) = (child.stdin().take(), child.stdout().take());
                    let stderr = child.stderr().take().map(|stderr| tokio::spawn(read_tail(stderr)));
                    let stderr = stderr.unwrap_or_else(|| tokio::spawn(async { String::new() }));
                    let host = self.name().to_owned();
                    let log = CommandLog::started(&host, name);
                    return Ok(Process { host, log, child, stderr, _permit: permit, stdin, stdout });
                }
                Err(error) => {
                    let (host, attempt_number) = (self.name(), attempt + 1);
                    tracing::warn!(target: "longshore::ssh", host, name, attempt_number, %error, "command not started");
                    if attempt < MAX_REFUSALS && matches!(error, openssh::Error::SshMux(_)) {
                        tokio::time::sleep(RETRY_DELAY).await;
                    } else {
                        // The connection is lost, or the host allows fewer commands per connection.
                        // A new connection helps in both cases.
                        self.invalidate(&session).await;
                    }
                    failed = Some(error);
                }
            }
        }
        let lost = failure::connection_lost(self.name());
        Err(failed.map_or(lost.clone(), |error| lost.because(error)))
    }

    /// Returns the command line with which another program runs `ssh` over this connection. If the
    /// connection is lost, that `ssh` makes one with the same options.
    pub async fn rsh(&self) -> Result<Vec<OsString>> {
        let socket = self.session().await?.control_socket().to_owned();
        let mut arguments: Vec<OsString> = ["ssh", "-S"].map(OsString::from).into();
        arguments.push(socket.into());
        arguments.extend(control_master::ssh_arguments(&self.options));
        Ok(arguments)
    }
}
