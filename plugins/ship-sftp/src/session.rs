//! The SFTP session: opened on first use, and reopened after a failure.

use std::sync::Arc;

use longshore_core::{Error, Kind, Result, Stage};
use longshore_ssh::failure;
use longshore_ssh::host::Host;
use longshore_ssh::process::Process;
use openssh_sftp_client::fs::Fs;
use openssh_sftp_client::{Sftp, SftpOptions};
use tokio::sync::Mutex;

use crate::ascii_names;

/// A host, and the shared session on it.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) host: Host,
    session: Mutex<Option<Arc<Session>>>,
}

/// A session. It is never closed explicitly, which would wait for every handle on it: it ends with
/// its last user.
#[derive(Debug)]
pub(crate) struct Session {
    sftp: Sftp,
    _process: Process,
}

impl Client {
    pub(crate) fn new(host: Host) -> Self {
        Self { host, session: Mutex::default() }
    }

    /// Returns the session, opening it if necessary.
    pub(crate) async fn session(&self) -> Result<Arc<Session>> {
        let mut session = self.session.lock().await;
        if let Some(session) = &*session {
            return Ok(Arc::clone(session));
        }
        let new_session = Arc::new(self.open().await?);
        *session = Some(Arc::clone(&new_session));
        Ok(new_session)
    }

    /// Removes a lost session, unless it was already replaced.
    pub(crate) async fn invalidate(&self, lost_session: &Arc<Session>) {
        let mut session = self.session.lock().await;
        if session.as_ref().is_some_and(|session| Arc::ptr_eq(session, lost_session)) {
            *session = None;
        }
    }

    async fn open(&self) -> Result<Session> {
        let mut process = self.host.subsystem("sftp").await?;
        let (Some(stdin), Some(stdout)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(failure::connection_lost(self.host.name()));
        };
        match Sftp::new(stdin, ascii_names::filter(stdout), SftpOptions::new()).await {
            Ok(sftp) => Ok(Session { sftp, _process: process }),
            Err(error) => {
                let stderr = process.wait().await.map(|exit| exit.stderr).unwrap_or_default();
                let denied =
                    Error::new(Stage::Ship, Kind::Denied, self.host.name(), "the host offers no SFTP to this account");
                let denied =
                    denied.hint("enable it there (Subsystem sftp internal-sftp in sshd_config), or use type = \"ssh\"");
                Err(if stderr.is_empty() { denied.because(error) } else { denied.because(stderr) })
            }
        }
    }
}

impl Session {
    /// Returns the session.
    pub(crate) fn sftp(&self) -> &Sftp {
        &self.sftp
    }

    /// Returns the operations on the server's files.
    pub(crate) fn fs(&self) -> Fs {
        self.sftp.fs()
    }
}
