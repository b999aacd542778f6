//! A host: connected when it is first needed, once for all, and anew when the connection has died.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use longshore_core::aftercare::see_through;
use longshore_core::{Error, Kind, Result, Stage};
use openssh::{ControlPersist, KnownHosts, OwningCommand, Session, SessionBuilder, Stdio};
use tempfile::TempDir;
use tokio::sync::{Mutex, Semaphore};

use crate::failure;
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

/// How often a silent host is asked for a sign of life; the third that fails to come ends the connection.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// How long an idle connection is kept, in seconds, should this process die without closing it.
const IDLE_SECONDS: NonZeroUsize = NonZeroUsize::new(30).unwrap();
/// How much longer than the connection itself proving who one is may take.
const PROOF: Duration = Duration::from_secs(60);

/// A host. All that is done there shares one connection.
#[derive(Debug)]
pub struct Host {
    reach: Reach,
    connection: Arc<Mutex<Option<Connection>>>,
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

/// A connection, and the private folder that its socket lies in: one that others share would be swept by whoever comes next.
#[derive(Debug, Clone)]
struct Connection {
    session: Arc<Session>,
    _sockets: Arc<TempDir>,
}

impl Host {
    /// A host that nobody has talked to yet.
    pub fn new(reach: Reach) -> Self {
        let [streams, errands] = [STREAMS, ERRANDS].map(|places| Arc::new(Semaphore::new(places)));
        Self { reach, connection: Arc::default(), streams, errands }
    }

    /// What errors call it.
    pub fn name(&self) -> &str {
        &self.reach.host
    }

    /// The connection, made if there is none.
    pub async fn session(&self) -> Result<Arc<Session>> {
        let mut connection = Arc::clone(&self.connection).lock_owned().await;
        if let Some(connection) = &*connection {
            return Ok(Arc::clone(&connection.session));
        }
        let reach = self.reach.clone();
        // Whoever asked may go away meanwhile: the connection is made and kept all the same, and so never left behind half made.
        see_through(async move {
            let made = connect(&reach).await?;
            let session = Arc::clone(&made.session);
            *connection = Some(made);
            Ok(session)
        })
        .await
    }

    /// Forgets a connection that did not serve, unless another has taken its place. Whoever still uses it keeps it.
    pub async fn forget(&self, session: &Arc<Session>) {
        let mut connection = self.connection.lock().await;
        if connection.as_ref().is_some_and(|connection| Arc::ptr_eq(&connection.session, session)) {
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
        let reach = &self.reach;
        let mut words: Vec<OsString> = ["ssh", "-S"].map(OsString::from).into();
        words.push(socket.into());
        let seconds = [reach.connect_timeout, SIGN_OF_LIFE].map(|duration| duration.as_secs());
        let mut options = vec![
            "BatchMode=yes".to_owned(),
            "StrictHostKeyChecking=yes".to_owned(),
            format!("ConnectTimeout={}", seconds[0]),
            format!("ServerAliveInterval={}", seconds[1]),
        ];
        options.extend(reach.known_hosts_file.iter().map(|file| format!("UserKnownHostsFile={}", file.display())));
        options.extend(reach.identity_file.iter().map(|_| "IdentitiesOnly=yes".to_owned()));
        words.extend(options.into_iter().flat_map(|option| ["-o".to_owned(), option]).map(OsString::from));
        let files = [("-i", &reach.identity_file), ("-F", &reach.config_file)];
        words.extend(
            files.into_iter().filter_map(|(letter, file)| Some([letter.into(), file.clone()?.into()])).flatten(),
        );
        words.extend(reach.port.iter().flat_map(|port| ["-p".into(), port.to_string().into()]));
        if !reach.jump.is_empty() {
            words.extend(["-J".into(), reach.jump.join(",").into()]);
        }
        Ok(words)
    }
}

async fn connect(reach: &Reach) -> Result<Connection> {
    let sockets = tempfile::Builder::new().prefix("longshore-ssh-").tempdir();
    let sockets = sockets
        .map_err(|error| Error::io(Stage::Ship, &reach.host, "cannot make a folder for the connection", error))?;
    let mut builder = SessionBuilder::default();
    builder
        .known_hosts_check(KnownHosts::Strict)
        .connect_timeout(reach.connect_timeout)
        .server_alive_interval(SIGN_OF_LIFE)
        .control_persist(ControlPersist::IdleFor(IDLE_SECONDS))
        .control_directory(sockets.path())
        .jump_hosts(&reach.jump);
    if let Some(port) = reach.port {
        builder.port(port);
    }
    if let Some(file) = &reach.identity_file {
        builder.keyfile(file);
    }
    if let Some(file) = &reach.known_hosts_file {
        builder.user_known_hosts_file(file);
    }
    if let Some(file) = &reach.config_file {
        builder.config_file(file);
    }
    let connected = tokio::time::timeout(reach.connect_timeout + PROOF, builder.connect_mux(&reach.host)).await;
    let connected = connected.map_err(|_| failure::connecting(&reach.host, "timed out"))?;
    let session = connected.map_err(|error| unconnected(reach, error))?;
    Ok(Connection { session: Arc::new(session), _sockets: Arc::new(sockets) })
}

fn unconnected(reach: &Reach, error: openssh::Error) -> Error {
    match error {
        // What ssh says never has this kind: there is no ssh.
        openssh::Error::Connect(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Error::new(Stage::Config, Kind::Usage, "ssh", "cannot start ssh")
                .hint("install OpenSSH's client (Debian: openssh-client)")
                .because(error)
        }
        openssh::Error::Connect(error) => failure::connecting(&reach.host, &error.to_string()),
        error => failure::connecting(&reach.host, "").because(error),
    }
}
