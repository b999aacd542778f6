//! The options of TCP connections. Source: `useKeepalives` and the functions after it in
//! `fe-connect.c`.

use std::time::Duration;

use super::error::ParameterError;
use super::settings::Settings;

/// The options of TCP connections. `None` leaves the system's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tcp {
    /// Keepalives.
    pub keepalives: Keepalives,
    /// The longest time that sent data may stay unacknowledged (`TCP_USER_TIMEOUT`).
    pub user_timeout: Option<Duration>,
}

/// TCP keepalives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keepalives {
    /// Sends none.
    Disable,
    /// Sends keepalives. `None` leaves the system's default.
    Enable {
        /// The idle time before the first keepalive.
        idle: Option<Duration>,
        /// The time between two keepalives.
        interval: Option<Duration>,
        /// The number of lost keepalives that end the connection.
        count: Option<u32>,
    },
}

impl Tcp {
    /// Returns the options. Zero and negative numbers leave the system's default.
    pub(super) fn resolve(settings: &Settings) -> Result<Self, ParameterError> {
        let positive = |keyword| {
            let number = settings.integer(keyword)?;
            Ok(number.and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0))
        };
        let seconds = |keyword| Ok(positive(keyword)?.map(|number| Duration::from_secs(number.into())));
        let (idle, interval) = (seconds("keepalives_idle")?, seconds("keepalives_interval")?);
        let count = positive("keepalives_count")?;
        let keepalives = match settings.integer("keepalives")? {
            Some(0) => Keepalives::Disable,
            _ => Keepalives::Enable { idle, interval, count },
        };
        let user_timeout = positive("tcp_user_timeout")?.map(|number| Duration::from_millis(number.into()));
        Ok(Self { keepalives, user_timeout })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(keywords: &[(&str, &str)]) -> Result<Tcp, ParameterError> {
        let keywords = keywords.iter().map(|(keyword, value)| ((*keyword).to_owned(), (*value).to_owned()));
        Tcp::resolve(&Settings::merge(keywords, &|_| None).unwrap())
    }

    #[test]
    fn keepalives_are_enabled_by_default() {
        let default = Keepalives::Enable { idle: None, interval: None, count: None };
        assert_eq!(tcp(&[]).unwrap(), Tcp { keepalives: default, user_timeout: None });
        let zeros = [("keepalives_idle", "0"), ("keepalives_count", "-1"), ("tcp_user_timeout", "0")];
        assert_eq!(tcp(&zeros).unwrap(), tcp(&[]).unwrap());
        assert_eq!(tcp(&[("keepalives", "0")]).unwrap().keepalives, Keepalives::Disable);
        assert!(tcp(&[("keepalives_interval", "x")]).is_err());
    }

    #[test]
    fn idle_is_in_seconds_and_user_timeout_in_milliseconds() {
        let keywords = [
            ("keepalives_idle", "60"),
            ("keepalives_interval", "5"),
            ("keepalives_count", "3"),
            ("tcp_user_timeout", "1500"),
        ];
        let (idle, interval) = (Some(Duration::from_secs(60)), Some(Duration::from_secs(5)));
        let keepalives = Keepalives::Enable { idle, interval, count: Some(3) };
        assert_eq!(tcp(&keywords).unwrap(), Tcp { keepalives, user_timeout: Some(Duration::from_millis(1500)) });
    }
}
