//! `[notify.NAME]`: channels of notices.

use std::collections::BTreeSet;
use std::time::Duration;

use longshore_core::unit::TimeSpan;
use longshore_notify::{Event, Settings};
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{ConfigError, quote_unless_secret};
use crate::suggestion::nearest;
use crate::table::read;

/// The default time between two notices about a problem that persists.
const REMIND: Duration = Duration::from_secs(24 * 3600);
/// The settings that all channels have in common.
const COMMON: [&str; 4] = ["on", "jobs", "remind", "detail"];
/// The types of channels.
const TYPES: [&str; 11] = [
    "alertmanager",
    "discord",
    "exec",
    "gotify",
    "healthchecks",
    "mail",
    "ntfy",
    "slack",
    "teams",
    "telegram",
    "webhook",
];

/// A channel of notices.
#[derive(Debug, Clone)]
pub struct NoticeChannel {
    /// The name of the channel.
    pub name: String,
    /// The events that are reported; `None` means the default of the channel's type.
    pub on: Option<BTreeSet<Event>>,
    /// The jobs that are reported; `None` means all of them.
    pub jobs: Option<BTreeSet<String>>,
    /// The time between two notices about a problem that persists.
    pub remind: Duration,
    /// True if notices contain the messages of errors.
    pub detail: bool,
    /// The settings of the channel's type.
    pub settings: Settings,
}

/// The settings that all channels have in common, as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    on: Option<BTreeSet<Event>>,
    jobs: Option<BTreeSet<String>>,
    remind: Option<TimeSpan>,
    #[serde(default)]
    detail: bool,
}

/// Reads the table of a channel.
pub(crate) fn channel(name: &str, value: Spanned<DeValue<'_>>) -> Result<NoticeChannel, ConfigError> {
    let span = value.span();
    let invalid = |message: String| ConfigError::at(span.clone(), format!("notify \"{name}\": {message}"));
    let DeValue::Table(mut table) = value.into_inner() else { return Err(invalid("must be a table".to_owned())) };
    let known = || TYPES.map(|known| format!("\"{known}\"")).join(", ");
    let Some(type_name) = table.remove("type") else {
        return Err(invalid(format!("type is missing; known types are {}", known())));
    };
    let mut common = DeTable::new();
    for setting in COMMON {
        if let Some((key, value)) = table.remove_entry(setting) {
            common.insert(key, value);
        }
    }
    let Written { on, jobs, remind, detail } = read(Spanned::new(span.clone(), DeValue::Table(common)))?;
    let rest = Spanned::new(span.clone(), DeValue::Table(table));
    let settings = match type_name.get_ref().as_str().unwrap_or_default() {
        "alertmanager" => Settings::Alertmanager(read(rest)?),
        "discord" => Settings::Discord(read(rest)?),
        "exec" => Settings::Exec(read(rest)?),
        "gotify" => Settings::Gotify(read(rest)?),
        "healthchecks" => Settings::Healthchecks(read(rest)?),
        "mail" => Settings::Mail(read(rest)?),
        "ntfy" => Settings::Ntfy(read(rest)?),
        "slack" => Settings::Slack(read(rest)?),
        "teams" => Settings::Teams(read(rest)?),
        "telegram" => Settings::Telegram(read(rest)?),
        "webhook" => Settings::Webhook(read(rest)?),
        other => {
            let correction = nearest(other, TYPES).map(|near| format!("did you mean \"{near}\"? "));
            let message = format!(
                "type {} is unknown; {}known types are {}",
                quote_unless_secret(other),
                correction.unwrap_or_default(),
                known()
            );
            return Err(ConfigError::at(type_name.span(), message));
        }
    };
    if on.as_ref().is_some_and(BTreeSet::is_empty) || jobs.as_ref().is_some_and(BTreeSet::is_empty) {
        return Err(invalid("on and jobs must not be empty: the channel would report nothing".to_owned()));
    }
    let remind = remind.map_or(REMIND, TimeSpan::duration);
    Ok(NoticeChannel { name: name.to_owned(), on, jobs, remind, detail, settings })
}
