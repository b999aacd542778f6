//! `[cluster.NAME.wal]`: the archive of a cluster's WAL.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use chrono::TimeDelta;
use longshore_core::stage::Encrypt;
use longshore_core::terms::MaxAge;
use longshore_core::unit::TimeSpan;
use longshore_retention::RecoveryWindow;
use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Spanned;
use toml::de::DeValue;

use crate::destination::Destination;
use crate::error::ConfigError;
use crate::reference;
use crate::registry::{Builder, Registry};
use crate::table::{is_none, look_up, read};

/// The default replication slot.
const SLOT: &str = "longshore";
/// The default time after which the unfinished segment is stored.
const PARTIAL_EVERY: TimeSpan = TimeSpan::new(Duration::from_secs(60));

/// The archive of a cluster's WAL.
#[derive(Clone)]
pub struct WalArchive {
    /// The name of the cluster.
    pub cluster: String,
    /// The names of the destinations.
    pub ship: Vec<String>,
    /// The destinations at which a segment must be before PostgreSQL may recycle it.
    pub required: Required,
    /// The moments to which the archive must be able to recover.
    pub window: RecoveryWindow,
    /// The maximum age of the newest segment at each destination.
    pub max_age: Option<MaxAge>,
    /// The settings of receiving.
    pub receive: ReceiveSettings,
    /// The encryption; `None` if the table sets `type = "none"`.
    pub encrypt: Option<Builder<dyn Encrypt>>,
}

/// The settings of `longshore wal receive`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiveSettings {
    /// The name of the replication slot.
    pub slot: String,
    /// The time after which the unfinished segment is stored; `None` to store WAL as soon as it
    /// arrives.
    pub partial_every: Option<TimeSpan>,
}

impl Default for ReceiveSettings {
    fn default() -> Self {
        Self { slot: SLOT.to_owned(), partial_every: Some(PARTIAL_EVERY) }
    }
}

/// The destinations at which a segment must be before it counts as archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Required {
    /// All of them.
    All,
    /// These.
    Named(BTreeSet<String>),
    /// Any of them, but so many.
    Count(usize),
}

impl Required {
    /// Returns true if a segment that is at these destinations counts as archived.
    pub fn is_met(&self, ship: &[String], stored: &BTreeSet<&str>) -> bool {
        match self {
            Self::All => ship.iter().all(|name| stored.contains(name.as_str())),
            Self::Named(names) => names.iter().all(|name| stored.contains(name.as_str())),
            Self::Count(count) => stored.len() >= *count,
        }
    }
}

/// `[cluster.NAME.wal]`: the archive of the cluster's WAL.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    /// The names of the destinations of each segment.
    #[schemars(length(min = 1))]
    ship: Vec<String>,
    /// The destinations at which a segment must be before PostgreSQL may recycle it: `"all"` (the
    /// default), a list, or a number of any of them.
    required: Option<WrittenRequired>,
    /// The past moments to which the archive must be able to recover: a time such as `"14d"`,
    /// `"all"` (the default) or `"none"`.
    #[schemars(extend("pattern" = r"^(all|none|[0-9]+\s*[smhdwy])$"))]
    recovery_window: Option<String>,
    /// The maximum age of the newest segment at each destination; `status` reports older ones.
    max_age: Option<MaxAge>,
    /// The settings of `longshore wal receive`.
    receive: Option<WrittenReceive>,
    /// The encryption.
    #[serde(rename = "encrypt")]
    #[schemars(with = "reference::Encrypt")]
    _encrypt: Option<IgnoredAny>,
}

/// The settings of `longshore wal receive`.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Receive")]
struct WrittenReceive {
    /// The physical replication slot, by default `"longshore"`.
    #[schemars(regex(pattern = r"^[a-z0-9_]{1,63}$"))]
    slot: Option<String>,
    /// The time after which the unfinished segment is stored, if it has grown, by default `"60s"`.
    partial_every: Option<TimeSpan>,
    /// True to store WAL as soon as it arrives, for `synchronous_standby_names = 'longshore'`.
    #[serde(default)]
    synchronous: bool,
}

impl WrittenReceive {
    /// Resolves the table, or returns the error message.
    fn resolve(self) -> Result<ReceiveSettings, String> {
        let Self { slot, partial_every, synchronous } = self;
        let slot = slot.unwrap_or_else(|| SLOT.to_owned());
        let is_valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if !(1..=63).contains(&slot.len()) || !slot.bytes().all(is_valid) {
            return Err(format!("receive: slot \"{slot}\" is not a name of a slot: it has up to 63 of a-z 0-9 _"));
        }
        let partial_every = match (partial_every, synchronous) {
            (Some(_), true) => return Err("receive: has both partial_every and synchronous: remove one".to_owned()),
            (None, true) => None,
            (Some(span), false) if span.duration().is_zero() => {
                return Err("receive: partial_every must be longer than zero, such as \"60s\"".to_owned());
            }
            (span, false) => Some(span.unwrap_or(PARTIAL_EVERY)),
        };
        Ok(ReceiveSettings { slot, partial_every })
    }
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "Required")]
enum WrittenRequired {
    Word(#[schemars(extend("const" = "all"))] String),
    Names(#[schemars(length(min = 1))] BTreeSet<String>),
    Count(#[schemars(range(min = 1))] usize),
}

/// Removes the table of the archive from that of its cluster.
pub(crate) fn take<'i>(cluster: &mut Spanned<DeValue<'i>>) -> Option<Spanned<DeValue<'i>>> {
    match cluster.get_mut() {
        DeValue::Table(table) => table.remove("wal"),
        _ => None,
    }
}

/// Reads the table of a cluster's archive.
pub(crate) fn archive(
    cluster: &str,
    value: Spanned<DeValue<'_>>,
    destinations: &BTreeMap<String, Destination>,
    (registry, plugin_dir): (&Registry, Option<&Path>),
) -> Result<WalArchive, ConfigError> {
    let span = value.span();
    let invalid = |message: String| ConfigError::at(span.clone(), format!("cluster \"{cluster}\": wal: {message}"));
    let DeValue::Table(mut table) = value.into_inner() else { return Err(invalid("must be a table".to_owned())) };
    let encrypt = match table.remove("encrypt") {
        None => {
            let message = "has no encrypt: add encrypt = { type = \"age\", recipients = [\"age1…\"] }, or encrypt = { type = \"none\" } to store WAL unencrypted";
            return Err(invalid(message.to_owned()));
        }
        Some(encrypt) if is_none(&encrypt) => None,
        Some(encrypt) => Some(registry.encrypt.read(encrypt, plugin_dir)?),
    };
    let Written { ship, required, recovery_window, max_age, receive, .. } =
        read(Spanned::new(span.clone(), DeValue::Table(table)))?;
    if ship.is_empty() {
        return Err(invalid("ships to no destination".to_owned()));
    }
    for (index, destination) in ship.iter().enumerate() {
        look_up(destinations, destination, "destination").map_err(&invalid)?;
        if ship[..index].contains(destination) {
            return Err(invalid(format!("ships to \"{destination}\" twice")));
        }
    }
    let required = match required {
        None => Required::All,
        Some(WrittenRequired::Word(word)) if word == "all" => Required::All,
        Some(WrittenRequired::Word(_)) => {
            return Err(invalid("required must be \"all\", a list of destinations, or a number".to_owned()));
        }
        Some(WrittenRequired::Count(count)) if (1..=ship.len()).contains(&count) => Required::Count(count),
        Some(WrittenRequired::Count(_)) => {
            return Err(invalid(format!("required must be from 1 to {}, the number of destinations", ship.len())));
        }
        Some(WrittenRequired::Names(names)) => match names.iter().find(|name| !ship.contains(name)) {
            Some(other) => return Err(invalid(format!("required names \"{other}\", but ship does not"))),
            None if names.is_empty() => {
                return Err(invalid("required names no destination: WAL would be recycled unarchived".to_owned()));
            }
            None => Required::Named(names),
        },
    };
    let window = recovery_window.map_or(Ok(RecoveryWindow::All), |text| window(&text)).map_err(&invalid)?;
    let receive = receive.map(WrittenReceive::resolve).transpose().map_err(&invalid)?.unwrap_or_default();
    Ok(WalArchive { cluster: cluster.to_owned(), ship, required, window, max_age, receive, encrypt })
}

fn window(text: &str) -> Result<RecoveryWindow, String> {
    match text {
        "all" => Ok(RecoveryWindow::All),
        "none" => Ok(RecoveryWindow::None),
        span => match TimeSpan::try_from(span.to_owned()).map(|span| TimeDelta::from_std(span.duration())) {
            Ok(Ok(span)) => Ok(RecoveryWindow::Span(span)),
            _ => Err(format!("recovery_window \"{text}\" must be a time such as \"14d\", or \"all\", or \"none\"")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_is_a_time_or_a_word() {
        assert_eq!(window("14d"), Ok(RecoveryWindow::Span(TimeDelta::days(14))));
        assert_eq!((window("all"), window("none")), (Ok(RecoveryWindow::All), Ok(RecoveryWindow::None)));
        for text in ["", "14", "never", "-1d"] {
            assert!(window(text).is_err(), "{text}");
        }
    }

    #[test]
    fn receiver_has_a_slot_and_one_time_to_store() {
        let resolve = |lines: &str| toml::from_str::<WrittenReceive>(lines).unwrap().resolve();
        assert_eq!(resolve(""), Ok(ReceiveSettings::default()));
        let synchronous = ReceiveSettings { slot: "other_1".to_owned(), partial_every: None };
        assert_eq!(resolve("slot = 'other_1'\nsynchronous = true"), Ok(synchronous));
        for wrong in ["slot = 'A'", "slot = ''", "partial_every = '0s'", "partial_every = '1s'\nsynchronous = true"] {
            assert!(resolve(wrong).unwrap_err().starts_with("receive: "), "{wrong}");
        }
    }

    #[test]
    fn required_destinations_decide() {
        let ship = ["disk", "offsite", "host"].map(str::to_owned);
        let met = |required: &Required, stored: &[&str]| required.is_met(&ship, &stored.iter().copied().collect());
        assert!(met(&Required::All, &["disk", "offsite", "host"]) && !met(&Required::All, &["disk", "host"]));
        let disk = Required::Named(["disk".to_owned()].into());
        assert!(met(&disk, &["disk"]) && !met(&disk, &["offsite", "host"]));
        assert!(met(&Required::Count(2), &["offsite", "host"]) && !met(&Required::Count(2), &["disk"]));
    }
}
