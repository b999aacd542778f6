//! An upload: the body, the commit, and the removal after a failure.

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use longshore_core::atomic_upload::Backend;
use longshore_core::digest::hex;
use longshore_core::key::Key;
use longshore_core::stream::ByteStream;
use longshore_core::temp_name::unique_name;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_exec::session::no_input;
use longshore_exec::{ExecProgram, Request, Role, Session, Step, output};
use sha2::{Digest, Sha256};

use crate::objects::Objects;

/// An upload in progress.
pub(crate) struct Upload {
    objects: Objects,
    key: Key,
    /// The name of the temporary file, which the program moves to the key.
    temp: String,
    session: Option<Session>,
    hasher: Sha256,
    bytes: u64,
    state: State,
}

/// The visibility of the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The program was not started: there is no file of this upload.
    New,
    /// There may be a temporary file.
    Hidden,
    /// The program was ordered to publish the object, and did not report the result.
    Unclear,
    /// The program reported that it has published the object.
    Published,
}

impl Upload {
    pub(crate) fn new(objects: Objects, key: Key) -> Self {
        let temp = unique_name(key.folder());
        Self { objects, key, temp, session: None, hasher: Sha256::new(), bytes: 0, state: State::New }
    }

    /// Passes the whole body to the program.
    pub(crate) async fn write(&mut self, mut body: ByteStream) -> Result<()> {
        let request = Request::new(Stage::Ship, self.key.as_str(), Role::Ship)
            .with("key", self.key.as_str())
            .with("temp", self.temp.as_str());
        self.state = State::Hidden;
        let session = self.session.insert(Session::start(&self.objects.program, request).await?);
        loop {
            match session.step(&mut body).await? {
                Step::Taken(chunk) => {
                    self.hasher.update(&chunk);
                    self.bytes += chunk.len() as u64;
                }
                Step::InputEnded => return Ok(()),
                Step::Ended => return Err(self.error(Kind::Failed, "the program ended before the commit")),
                Step::Output(_) | Step::Entry(_) => {}
            }
        }
    }

    fn error(&self, kind: Kind, message: impl Into<String>) -> Error {
        Error::new(Stage::Ship, kind, self.key.as_str(), message)
    }

    fn already_exists(&self) -> Error {
        self.error(Kind::AlreadyExists, "already exists, and nothing is ever overwritten")
            .hint("another run used the same time, or another host writes to the same place: give each host its own")
    }
}

impl Backend for Upload {
    /// Orders the program to publish the object, and inspects the object afterwards.
    async fn publish(&mut self) -> Result<()> {
        let Some(mut session) = self.session.take() else {
            return Err(self.error(Kind::Failed, "the program was not started"));
        };
        // After this check, an object of the same content is the one of this upload.
        match self.objects.stat(&self.key).await {
            Ok(_) => {
                session.abort().await;
                return Err(self.already_exists());
            }
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => {
                session.abort().await;
                return Err(error);
            }
        }
        self.state = State::Unclear;
        let sha256 = hex(&self.hasher.clone().finalize());
        let published = async {
            session.commit(&sha256).await?;
            let mut input = no_input();
            while !matches!(session.step(&mut input).await?, Step::Ended) {}
            session.finish().await
        };
        match published.await {
            Ok(_) => self.state = State::Published,
            Err(error) if error.kind() == Kind::AlreadyExists => {
                self.state = State::Hidden;
                return Err(self.already_exists().because(error));
            }
            Err(error) => return Err(error),
        }
        let stored = self.objects.stat(&self.key).await?;
        if stored.bytes == self.bytes {
            return Ok(());
        }
        let message = format!("the program has stored {} of {} bytes", stored.bytes, self.bytes);
        Err(self.error(Kind::Corrupt, message))
    }

    fn roll_back(&mut self) -> BoxFuture<'static, Result<()>> {
        let (objects, key, temp, state) = (self.objects.clone(), self.key.clone(), self.temp.clone(), self.state);
        let (session, bytes) = (self.session.take(), self.bytes);
        let sha256 = hex(&self.hasher.clone().finalize());
        Box::pin(async move {
            // The program first, so that it writes nothing afterwards.
            if let Some(mut session) = session {
                session.abort().await;
            }
            if state == State::New {
                return Ok(());
            }
            let removed = match state {
                State::Published => objects.remove(key.as_str()).await,
                State::Unclear => remove_own(&objects, &key, bytes, &sha256).await,
                State::New | State::Hidden => Ok(()),
            };
            removed.and(objects.remove(&temp).await)
        })
    }
}

/// Removes an object if it has the content of the upload: another writer may have published one.
async fn remove_own(objects: &Objects, key: &Key, bytes: u64, sha256: &str) -> Result<()> {
    match objects.stat(key).await {
        Err(error) if error.kind() == Kind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(entry) if entry.bytes != bytes => return Ok(()),
        Ok(_) => {}
    }
    if digest(&objects.program, key, bytes).await? == sha256 { objects.remove(key.as_str()).await } else { Ok(()) }
}

/// Returns the SHA-256 of an object in hexadecimal.
async fn digest(program: &ExecProgram, key: &Key, bytes: u64) -> Result<String> {
    let request = Request::new(Stage::Ship, key.as_str(), Role::Fetch)
        .with("key", key.as_str())
        .with("offset", 0)
        .with("length", bytes);
    let mut content = output(Session::start(program, request).await?, no_input(), |_| Ok(()));
    let mut hasher = Sha256::new();
    while let Some(chunk) = content.next().await {
        hasher.update(&chunk?);
    }
    Ok(hex(&hasher.finalize()))
}
