//! The SFTP session: opened on first use, and reopened after a failure.

use std::sync::Arc;

use longshore_core::{Error, Kind, Result, Stage};
use longshore_ssh::failure;
use longshore_ssh::host::Host;
use longshore_ssh::running::Running;
use openssh_sftp_client::fs::Fs;
use openssh_sftp_client::{Sftp, SftpOptions};
use tokio::sync::Mutex;

use crate::names;

/// A host, and the shared session on it.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) host: Host,
    link: Mutex<Option<Arc<Link>>>,
}

/// A session. It is never closed explicitly, which would wait for every handle on it: it ends with
/// its last user.
#[derive(Debug)]
pub(crate) struct Link {
    sftp: Sftp,
    _running: Running,
}

impl Line {
    pub(crate) fn new(host: Host) -> Self {
        Self { host, link: Mutex::default() }
    }

    /// Returns the session, opening it if necessary.
    pub(crate) async fn link(&self) -> Result<Arc<Link>> {
        let mut link = self.link.lock().await;
        if let Some(link) = &*link {
            return Ok(Arc::clone(link));
        }
        let opened = Arc::new(self.open().await?);
        *link = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// Removes a lost session, unless it was already replaced.
    pub(crate) async fn forget(&self, dead: &Arc<Link>) {
        let mut link = self.link.lock().await;
        if link.as_ref().is_some_and(|link| Arc::ptr_eq(link, dead)) {
            *link = None;
        }
    }

    async fn open(&self) -> Result<Link> {
        let mut running = self.host.subsystem("sftp").await?;
        let (Some(stdin), Some(stdout)) = (running.stdin.take(), running.stdout.take()) else {
            return Err(failure::lost(self.host.name()));
        };
        match Sftp::new(stdin, names::readable(stdout), SftpOptions::new()).await {
            Ok(sftp) => Ok(Link { sftp, _running: running }),
            Err(error) => {
                let said = running.wait().await.map(|ended| ended.said).unwrap_or_default();
                let denied =
                    Error::new(Stage::Ship, Kind::Denied, self.host.name(), "the host offers no SFTP to this account");
                let denied =
                    denied.hint("enable it there (Subsystem sftp internal-sftp in sshd_config), or use type = \"ssh\"");
                Err(if said.is_empty() { denied.because(error) } else { denied.because(said) })
            }
        }
    }
}

impl Link {
    /// Returns the session.
    pub(crate) fn sftp(&self) -> &Sftp {
        &self.sftp
    }

    /// Returns the operations on the server's files.
    pub(crate) fn fs(&self) -> Fs {
        self.sftp.fs()
    }
}
