//! The messages that begin an operation, and the commit.

use std::time::{Duration, Instant};

use longshore_core::error::printable;
use longshore_core::{Error, Kind, Result};

use super::{END_TIMEOUT, Session};
use crate::control::Control;
use crate::message::{FromProgram, PROTOCOL, Role, ToProgram};
use crate::process::description;

impl Session {
    /// Fails if the program does not implement the role.
    pub(super) fn expect_role(&self, roles: &[Role]) -> Result<()> {
        if roles.contains(&self.request.role) {
            return Ok(());
        }
        let error = self.error(Kind::Usage, format!("does not implement the role {}", self.request.role));
        Err(error.hint("use the program for another stage"))
    }

    /// Exchanges the first messages, and returns the roles of the program.
    pub(super) async fn greet(&mut self) -> Result<Vec<Role>> {
        let hello = ToProgram::Hello { protocol: PROTOCOL, longshore: env!("CARGO_PKG_VERSION") };
        // A program that has ended is reported below.
        let sent = self.control()?.send(&hello).await;
        let limit = self.hello_timeout;
        let first = tokio::time::timeout(limit, async {
            match self.control() {
                Ok(control) => control.next().await,
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
        let hint = match first {
            Err(_) => {
                "raise hello_timeout if the program needs more time to begin; a program without the protocol needs \
                 protocol = \"none\""
            }
            Ok(_) => {
                "a program without the protocol needs protocol = \"none\"; `longshore plugin test PROGRAM` tests one \
                 with the protocol"
            }
        };
        let problem = match first {
            Err(_) => format!("sent no hello within {} s on descriptor 3", limit.as_secs_f64()),
            Ok(Err(problem)) => problem,
            Ok(Ok(None)) => {
                let exit = self.wait_for_exit().await;
                format!(
                    "{} before hello on descriptor 3",
                    exit.map_or("closed it".to_owned(), |exit| format!("ended with {exit}"))
                )
            }
            Ok(Ok(Some(FromProgram::Error { kind, message, hint }))) => {
                return Err(self.reported(&kind, &message, hint.as_deref()));
            }
            Ok(Ok(Some(FromProgram::Hello { protocol, name, version, roles }))) => {
                if protocol != PROTOCOL {
                    format!("implements the protocol \"{}\", and not \"{PROTOCOL}\"", printable(&protocol))
                } else {
                    self.name = Some((name, version));
                    return sent.map(|()| roles).map_err(|problem| self.error(Kind::Failed, problem));
                }
            }
            Ok(Ok(Some(_))) => "sent another message before hello on descriptor 3".to_owned(),
        };
        Err(self.with_lines(self.error(Kind::Failed, problem)).await.hint(hint))
    }

    /// Waits a moment for the exit of a program, and returns its description.
    pub(super) async fn wait_for_exit(&mut self) -> Option<String> {
        let process = self.process.as_mut()?;
        if process.exit.is_none() {
            let status = tokio::time::timeout(END_TIMEOUT, process.child.wait()).await.ok()?.ok()?;
            process.ended(status).await;
        }
        process.exit.map(description)
    }

    pub(super) fn control(&mut self) -> Result<&mut Control> {
        let control = self.process.as_mut().and_then(|process| process.control.as_mut());
        control.ok_or_else(|| {
            Error::new(self.request.stage, Kind::Failed, &self.request.subject, "the program has no descriptor 3")
        })
    }

    /// Sends a message, or ends the program.
    pub(super) async fn send(&mut self, message: &ToProgram<'_>) -> Result<()> {
        let sent = self.control()?.send(message).await;
        match sent {
            Ok(()) => Ok(()),
            Err(problem) => {
                // The reason of a program that has ended is in its messages.
                let error = self.why_ended(problem).await;
                self.abort().await;
                Err(error)
            }
        }
    }

    /// Returns the error that the program reported before it closed descriptor 3, or `problem`.
    pub(super) async fn why_ended(&mut self, problem: String) -> Error {
        while let Ok(control) = self.control() {
            match tokio::time::timeout(END_TIMEOUT, control.next()).await {
                Ok(Ok(Some(FromProgram::Error { kind, message, hint }))) => {
                    return self.reported(&kind, &message, hint.as_deref());
                }
                Ok(Ok(Some(_))) => {}
                _ => break,
            }
        }
        self.wait_for_exit().await;
        self.with_lines(self.error(Kind::Failed, problem)).await
    }

    /// Orders the program to publish what it received.
    ///
    /// # Errors
    ///
    /// Fails if the program does not take the message, or has already sent `done`; it is then
    /// ended.
    pub async fn commit(&mut self, sha256: &str) -> Result<()> {
        while let Ok(Ok(Some(message))) = tokio::time::timeout(Duration::ZERO, self.control()?.next()).await {
            if let Err(error) = self.take_message(message) {
                self.abort().await;
                return Err(error);
            }
        }
        let commit = ToProgram::Commit { bytes: self.bytes_in, sha256 };
        self.is_committed = true;
        self.last_progress = Instant::now();
        self.send(&commit).await
    }
}
