//! `[cluster.NAME.wal]`: the archive of a cluster's WAL.

use std::collections::{BTreeMap, BTreeSet};

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
    /// The encryption; `None` if the table sets `type = "none"`.
    pub encrypt: Option<Builder<dyn Encrypt>>,
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
    /// The encryption.
    #[serde(rename = "encrypt")]
    #[schemars(with = "reference::Encrypt")]
    _encrypt: Option<IgnoredAny>,
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
    registry: &Registry,
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
        Some(encrypt) => Some(registry.encrypt.read(encrypt)?),
    };
    let Written { ship, required, recovery_window, max_age, .. } =
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
    Ok(WalArchive { cluster: cluster.to_owned(), ship, required, window, max_age, encrypt })
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
    fn required_destinations_decide() {
        let ship = ["disk", "offsite", "host"].map(str::to_owned);
        let met = |required: &Required, stored: &[&str]| required.is_met(&ship, &stored.iter().copied().collect());
        assert!(met(&Required::All, &["disk", "offsite", "host"]) && !met(&Required::All, &["disk", "host"]));
        let disk = Required::Named(["disk".to_owned()].into());
        assert!(met(&disk, &["disk"]) && !met(&disk, &["offsite", "host"]));
        assert!(met(&Required::Count(2), &["offsite", "host"]) && !met(&Required::Count(2), &["disk"]));
    }
}
