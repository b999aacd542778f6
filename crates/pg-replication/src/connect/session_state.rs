//! The states that `target_session_attrs` distinguishes. PostgreSQL 14 and newer report them when
//! a session starts, so no command is necessary.

use crate::connection::Connection;
use crate::error::{Error, Result};

/// The wanted state of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
}

impl Wanted {
    /// Fails if the server has another state.
    pub(super) fn accept(self, connection: &Connection, label: &str) -> Result<()> {
        if self == Self::Any {
            return Ok(());
        }
        let facts = connection.facts();
        let is_on = |setting: &Option<String>| setting.as_ref().map(|value| value == "on");
        let is_standby = is_on(&facts.in_hot_standby);
        let is_read_only = is_on(&facts.default_transaction_read_only).zip(is_standby).map(|(own, all)| own || all);
        let state = match self {
            Self::Any => return Ok(()),
            Self::ReadWrite | Self::ReadOnly => is_read_only,
            Self::Primary | Self::Standby => is_standby,
        };
        let message = match (self, state) {
            (_, None) => "the server does not report its state",
            (Self::ReadWrite, Some(true)) => "the session is read-only",
            (Self::ReadOnly, Some(false)) => "the session is not read-only",
            (Self::Primary, Some(true)) => "the server is a standby",
            (Self::Standby, Some(false)) => "the server is not a standby",
            (_, Some(_)) => return Ok(()),
        };
        Err(Error::SessionState { host: label.to_owned(), message: message.to_owned() })
    }
}
