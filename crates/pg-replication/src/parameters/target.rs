//! The choice among hosts. Source: `pqConnectOptions2` in `fe-connect.c`.

use super::error::ParameterError;
use super::settings::Settings;

/// The kind of server that a connection accepts (`target_session_attrs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetSessionAttrs {
    /// Any server.
    Any,
    /// A server whose sessions can write.
    ReadWrite,
    /// A server whose sessions cannot write.
    ReadOnly,
    /// A server that is not in recovery.
    Primary,
    /// A server in recovery.
    Standby,
    /// A server in recovery if there is one, otherwise any server.
    PreferStandby,
}

/// The order in which hosts and their addresses are tried (`load_balance_hosts`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadBalanceHosts {
    /// The order of the list.
    Disable,
    /// A random order of the hosts, and of the addresses of each host.
    Random,
}

impl TargetSessionAttrs {
    pub(super) fn resolve(settings: &Settings) -> Result<Self, ParameterError> {
        let words = [
            ("any", Self::Any),
            ("read-write", Self::ReadWrite),
            ("read-only", Self::ReadOnly),
            ("primary", Self::Primary),
            ("standby", Self::Standby),
            ("prefer-standby", Self::PreferStandby),
        ];
        let rule = "not one of any, read-write, read-only, primary, standby, prefer-standby";
        settings.choice("target_session_attrs", Self::Any, &words, rule)
    }
}

impl LoadBalanceHosts {
    pub(super) fn resolve(settings: &Settings) -> Result<Self, ParameterError> {
        let words = [("disable", Self::Disable), ("random", Self::Random)];
        settings.choice("load_balance_hosts", Self::Disable, &words, "not one of disable, random")
    }
}
