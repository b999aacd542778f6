//! One operation of a program: bytes, messages, and the conditions of success.

mod messages;
mod pipes;
mod result;

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::pending;
use longshore_core::cleanup::spawn_cleanup;
use longshore_core::error::printable;
use longshore_core::stream::ByteStream;
use longshore_core::{Error, Kind, Result, Stage};
use serde_json::{Map, Value};
use tokio::io;

use self::pipes::{read_output, write_input};
use crate::message::{Done, FromProgram, Level, ObjectEntry, Role, ToProgram};
use crate::process::{Pipes, Process, description};
use crate::settings::{ExecProgram, HELLO_TIMEOUT, Protocol};

/// The time for the rest of the output and messages after the end of a program, and for the end of
/// a program after its last message.
const END_TIMEOUT: Duration = Duration::from_secs(5);
/// The maximum number of warnings that are kept.
const MAX_WARNINGS: usize = 100;
/// The maximum length of a program's message in an error, in characters.
const MAX_MESSAGE: usize = 2000;

/// The work that a program is started for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The stage, for errors.
    pub stage: Stage,
    /// The subject of the work, such as a database or a key, for errors.
    pub subject: String,
    /// The role.
    pub role: Role,
    /// Fields of the role in the message `start`.
    pub fields: Map<String, Value>,
}

impl Request {
    /// Creates a request without fields.
    pub fn new(stage: Stage, subject: impl Into<String>, role: Role) -> Self {
        Self { stage, subject: subject.into(), role, fields: Map::new() }
    }

    /// Adds a field.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }
}

/// A step of an operation.
#[derive(Debug)]
pub enum Step {
    /// The program wrote these bytes.
    Output(Bytes),
    /// The program took this chunk of its input.
    Taken(Bytes),
    /// The input has ended well, and the program can read its end.
    InputEnded,
    /// The program reported an object.
    Entry(ObjectEntry),
    /// The program has ended. [`Session::finish`] returns the result.
    Ended,
}

/// The result of a successful operation.
#[derive(Debug, Clone, Default)]
pub struct Ended {
    /// The report of a program of the protocol.
    pub done: Done,
    /// The warnings of the program.
    pub warnings: Vec<String>,
    /// The name and version of a program of the protocol.
    pub name: Option<(String, Option<String>)>,
}

/// A program at work. Dropping it ends the process group, before its input is closed.
#[derive(Debug)]
pub struct Session {
    process: Option<Process>,
    request: Request,
    program: String,
    protocol: Protocol,
    stall_timeout: Duration,
    hello_timeout: Duration,
    /// The part of the current chunk that the program has not taken.
    unsent: Bytes,
    /// The current chunk.
    chunk: Bytes,
    input: Input,
    bytes_in: u64,
    bytes_out: u64,
    is_committed: bool,
    done: Option<Done>,
    warnings: Vec<String>,
    name: Option<(String, Option<String>)>,
    last_progress: Instant,
    buffer: BytesMut,
}

/// The state of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    Open,
    /// It has ended, and the last chunk is not yet taken.
    Ending,
    Closed,
}

/// An event of a program or of its input.
enum Event {
    Message(Result<Option<FromProgram>, String>),
    Output(io::Result<usize>),
    Written(io::Result<usize>),
    Input(Option<Result<Bytes>>),
    Exit(io::Result<std::process::ExitStatus>),
    Timeout,
}

impl Session {
    /// Starts a program. A program of the protocol has received its work when this returns.
    ///
    /// # Errors
    ///
    /// Fails if the program cannot be started, if other users could replace it, or if it does not
    /// implement the protocol or the role.
    pub async fn start(program: &ExecProgram, request: Request) -> Result<Self> {
        let secrets = program.read_secrets()?;
        let mut session = Self::spawn(program, request)?;
        if program.protocol == Protocol::V1 {
            let greeted = match session.greet().await {
                Ok(roles) => session.expect_role(&roles),
                Err(error) => Err(error),
            };
            if let Err(error) = greeted {
                session.abort().await;
                return Err(error);
            }
            let Request { role, fields, .. } = session.request.clone();
            let start = ToProgram::Start { role, settings: &program.settings, secrets: &secrets, fields: &fields };
            session.send(&start).await?;
        }
        Ok(session)
    }

    /// Starts a program of the protocol, and returns its roles. The program is then ended.
    ///
    /// # Errors
    ///
    /// Fails if the program does not implement the protocol.
    pub async fn roles(program: &ExecProgram) -> Result<(String, Vec<Role>)> {
        let subject = program.path().display().to_string();
        let mut session = Self::spawn(program, Request::new(Stage::Config, subject, Role::Check))?;
        let greeted = session.greet().await;
        session.abort().await;
        let (name, version) = session.name.take().unwrap_or_default();
        Ok(([Some(name), version].into_iter().flatten().collect::<Vec<_>>().join(" "), greeted?))
    }

    /// Starts the process of a program.
    fn spawn(program: &ExecProgram, request: Request) -> Result<Self> {
        program.check(request.stage)?;
        let is_v1 = program.protocol == Protocol::V1;
        let pipes = Pipes { input: request.role.reads(), output: request.role.writes(), control: is_v1 };
        let variables = [("LONGSHORE_ROLE", request.role.to_string()), ("LONGSHORE_SUBJECT", request.subject.clone())];
        let process = Process::start(program, request.stage, pipes, &variables)?;
        Ok(Self {
            input: if request.role.reads() { Input::Open } else { Input::Closed },
            process: Some(process),
            request,
            program: program.path().display().to_string(),
            protocol: program.protocol,
            stall_timeout: program.stall_timeout,
            hello_timeout: program.hello_timeout.unwrap_or(HELLO_TIMEOUT),
            unsent: Bytes::new(),
            chunk: Bytes::new(),
            bytes_in: 0,
            bytes_out: 0,
            is_committed: false,
            done: None,
            warnings: Vec::new(),
            name: None,
            last_progress: Instant::now(),
            buffer: BytesMut::new(),
        })
    }

    /// Returns the name and the version of a program of the protocol.
    pub fn name(&self) -> Option<(&str, Option<&str>)> {
        self.name.as_ref().map(|(name, version)| (name.as_str(), version.as_deref()))
    }

    /// Returns the number of bytes of the input that the program took.
    pub fn bytes_in(&self) -> u64 {
        self.bytes_in
    }

    /// Performs the next step. `input` is the input of a program that reads.
    ///
    /// # Errors
    ///
    /// Fails with the error of the input unchanged, and for every misbehaviour of the program. The
    /// process group has then ended, and before its input was closed.
    pub async fn step(&mut self, input: &mut ByteStream) -> Result<Step> {
        match self.try_step(input).await {
            Ok(step) => Ok(step),
            Err(error) => {
                self.abort().await;
                Err(error)
            }
        }
    }

    async fn try_step(&mut self, input: &mut ByteStream) -> Result<Step> {
        // The time between two steps is that of the reader.
        self.last_progress = Instant::now();
        loop {
            if self.input == Input::Ending && self.unsent.is_empty() {
                self.input = Input::Closed;
                if let Some(process) = &mut self.process {
                    process.stdin = None;
                }
                self.last_progress = Instant::now();
                return Ok(Step::InputEnded);
            }
            if self.has_ended() {
                return Ok(Step::Ended);
            }
            let event = self.next_event(input).await?;
            if !matches!(event, Event::Timeout) {
                self.last_progress = Instant::now();
            }
            if let Some(step) = self.handle(event).await? {
                return Ok(step);
            }
        }
    }

    /// Returns true if nothing more can come from the program.
    fn has_ended(&self) -> bool {
        let Some(process) = &self.process else { return true };
        let control_ended = process.control.as_ref().is_none_or(|control| control.is_closed);
        process.exit.is_some() && process.stdout.is_none() && control_ended && self.input == Input::Closed
    }

    /// Waits for the next event.
    async fn next_event(&mut self, input: &mut ByteStream) -> Result<Event> {
        let deadline = self.deadline();
        let Self { process: Some(process), unsent, buffer, .. } = self else {
            return Err(Error::new(self.request.stage, Kind::Failed, &self.request.subject, "the program has ended"));
        };
        let reads_input = self.input == Input::Open && unsent.is_empty() && process.exit.is_none();
        let has_exited = process.exit.is_some();
        let Process { child, stdin, stdout, control, .. } = process;
        let open_control = control.as_mut().filter(|control| !control.is_closed);
        let timeout = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        Ok(tokio::select! {
            message = async { match open_control { Some(control) => control.next().await, None => std::future::pending().await } } => Event::Message(message),
            read = read_output(stdout.as_ref(), buffer) => Event::Output(read),
            written = write_input(stdin.as_ref(), unsent) => Event::Written(written),
            chunk = input.next(), if reads_input => Event::Input(chunk),
            status = child.wait(), if !has_exited => Event::Exit(status),
            () = timeout => Event::Timeout,
        })
    }

    /// Returns the time at which the program has made no progress for too long. A program that
    /// waits for its input has no limit.
    fn deadline(&self) -> Option<Instant> {
        let process = self.process.as_ref()?;
        if process.exit.is_some() || self.done.is_some() || self.has_closed_control() {
            return Some(self.last_progress + END_TIMEOUT.min(self.stall_timeout));
        }
        let waits_for_program = self.input == Input::Closed || !self.unsent.is_empty();
        waits_for_program.then(|| self.last_progress + self.stall_timeout)
    }

    fn has_closed_control(&self) -> bool {
        let control = self.process.as_ref().and_then(|process| process.control.as_ref());
        control.is_some_and(|control| control.is_closed)
    }

    async fn handle(&mut self, event: Event) -> Result<Option<Step>> {
        match event {
            Event::Message(Ok(Some(message))) => self.take_message(message),
            // The end of the messages; `deadline` limits the time until the exit.
            Event::Message(Ok(None)) => Ok(None),
            Event::Message(Err(problem)) => Err(self.with_lines(self.error(Kind::Failed, problem)).await),
            Event::Output(Ok(0)) => {
                if let Some(process) = &mut self.process {
                    process.stdout = None;
                }
                Ok(None)
            }
            Event::Output(Ok(read)) => {
                self.bytes_out += read as u64;
                Ok(Some(Step::Output(self.buffer.split().freeze())))
            }
            Event::Output(Err(error)) => Err(self.error(Kind::Failed, "cannot be read from".to_owned()).because(error)),
            Event::Written(Ok(written)) => {
                self.bytes_in += written as u64;
                let sent = self.unsent.split_to(written);
                drop(sent);
                Ok(self.unsent.is_empty().then(|| Step::Taken(std::mem::take(&mut self.chunk))))
            }
            Event::Written(Err(_)) => {
                let problem = "stopped reading before the end of its input".to_owned();
                self.wait_for_exit().await;
                Err(self.ended_early(problem).await)
            }
            Event::Input(Some(Ok(chunk))) => {
                self.unsent = chunk.clone();
                self.chunk = chunk;
                Ok(None)
            }
            Event::Input(Some(Err(error))) => Err(error),
            Event::Input(None) => {
                self.input = Input::Ending;
                Ok(None)
            }
            Event::Exit(status) => {
                let status = status
                    .map_err(|error| self.error(Kind::Failed, "cannot be waited for".to_owned()).because(error))?;
                if let Some(process) = &mut self.process {
                    process.ended(status).await;
                }
                if self.input != Input::Closed {
                    let problem = format!("ended with {} before the end of its input", description(status));
                    return Err(self.ended_early(problem).await);
                }
                Ok(None)
            }
            Event::Timeout => Err(self.timed_out().await),
        }
    }

    fn take_message(&mut self, message: FromProgram) -> Result<Option<Step>> {
        if self.done.is_some() {
            return Err(self.error(Kind::Failed, "sent a message after done".to_owned()));
        }
        match message {
            FromProgram::Hello { .. } => Err(self.error(Kind::Failed, "sent hello twice".to_owned())),
            FromProgram::Progress { .. } => Ok(None),
            FromProgram::Log { level, message } => {
                let message = shown(&message);
                tracing::info!(target: "longshore::exec", program = self.program, message);
                if level == Level::Warning && self.warnings.len() < MAX_WARNINGS {
                    self.warnings.push(message);
                }
                Ok(None)
            }
            FromProgram::Entry(entry) => match self.request.role {
                Role::List | Role::Stat => Ok(Some(Step::Entry(entry))),
                role => Err(self.error(Kind::Failed, format!("sent an entry in the role {role}"))),
            },
            FromProgram::Done(_) if self.request.role == Role::Ship && !self.is_committed => {
                Err(self.error(Kind::Failed, "sent done before commit".to_owned()))
            }
            FromProgram::Done(done) => {
                self.done = Some(done);
                Ok(None)
            }
            FromProgram::Error { kind, message, hint } => Err(self.reported(&kind, &message, hint.as_deref())),
        }
    }

    /// Closes the input and the messages without a commit, as if this process had ended, and waits
    /// for the end of the program.
    pub async fn disconnect(mut self) {
        if let Some(process) = &mut self.process {
            (process.stdin, process.control, process.stdout) = (None, None, None);
        }
        self.wait_for_exit().await;
        self.abort().await;
    }

    /// Ends the process group, before its input is closed.
    pub async fn abort(&mut self) {
        if let Some(process) = &mut self.process {
            process.end().await;
        }
        self.process = None;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take_if(|process| process.exit.is_none()) {
            spawn_cleanup(async move {
                process.end().await;
                Ok(())
            });
        }
    }
}

/// Returns a program's message for the operator.
fn shown(message: &str) -> String {
    printable(&message.chars().take(MAX_MESSAGE).collect::<String>())
}

/// Passes all of `input` to a program, and waits for its success.
///
/// # Errors
///
/// Fails with the error of the input unchanged, or if the program fails.
pub async fn feed(program: &ExecProgram, request: Request, mut input: ByteStream) -> Result<Ended> {
    let mut session = Session::start(program, request).await?;
    while !matches!(session.step(&mut input).await?, Step::Ended) {}
    session.finish().await
}

/// Returns the output of a program as a stream that ends cleanly only if the program succeeded, and
/// calls `on_end` before its end.
pub fn output(
    mut session: Session,
    mut input: ByteStream,
    on_end: impl FnOnce(Ended) -> Result<()> + Send + 'static,
) -> ByteStream {
    let stream = async_stream::try_stream! {
        loop {
            match session.step(&mut input).await? {
                Step::Output(bytes) => yield bytes,
                Step::Ended => break,
                Step::Taken(_) | Step::InputEnded | Step::Entry(_) => {}
            }
        }
        on_end(session.finish().await?)?;
    };
    stream.boxed()
}

/// Returns the input of a program that reads nothing.
pub fn no_input() -> ByteStream {
    pending().boxed()
}
