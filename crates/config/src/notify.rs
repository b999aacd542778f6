//! `[notify.NAME]`: channels of notices.

use std::collections::BTreeSet;
use std::time::Duration;

use longshore_core::unit::TimeSpan;
use longshore_notify::{Event, Settings};
use schemars::{JsonSchema, Schema, SchemaGenerator};
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

/// A type of channels: the name, and the settings beside those in common.
pub(crate) struct ChannelType {
    /// The name.
    pub(crate) name: &'static str,
    read: fn(Spanned<DeValue<'_>>) -> Result<Settings, ConfigError>,
    /// Returns the JSON Schema of the settings.
    pub(crate) schema: fn(&mut SchemaGenerator) -> Schema,
}

macro_rules! channel_type {
    ($name:literal, $settings:ident) => {
        ChannelType {
            name: $name,
            read: |value| Ok(Settings::$settings(read(value)?)),
            schema: <longshore_notify::$settings as JsonSchema>::json_schema,
        }
    };
}

/// The types of channels.
pub(crate) static TYPES: [ChannelType; 11] = [
    channel_type!("alertmanager", Alertmanager),
    channel_type!("discord", Discord),
    channel_type!("exec", Exec),
    channel_type!("gotify", Gotify),
    channel_type!("healthchecks", Healthchecks),
    channel_type!("mail", Mail),
    channel_type!("ntfy", Ntfy),
    channel_type!("slack", Slack),
    channel_type!("teams", Teams),
    channel_type!("telegram", Telegram),
    channel_type!("webhook", Webhook),
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
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    /// The events that are reported. The default depends on the type.
    #[schemars(length(min = 1))]
    on: Option<BTreeSet<Event>>,
    /// The jobs that are reported. By default all of them.
    #[schemars(length(min = 1))]
    jobs: Option<BTreeSet<String>>,
    /// The time between two notices about a problem that persists, by default `"24h"`.
    remind: Option<TimeSpan>,
    /// True if notices contain the messages of errors.
    #[serde(default)]
    detail: bool,
}

/// Reads the table of a channel.
pub(crate) fn channel(name: &str, value: Spanned<DeValue<'_>>) -> Result<NoticeChannel, ConfigError> {
    let span = value.span();
    let invalid = |message: String| ConfigError::at(span.clone(), format!("notify \"{name}\": {message}"));
    let DeValue::Table(mut table) = value.into_inner() else { return Err(invalid("must be a table".to_owned())) };
    let known = || TYPES.iter().map(|known| format!("\"{}\"", known.name)).collect::<Vec<_>>().join(", ");
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
    let type_text = type_name.get_ref().as_str().unwrap_or_default();
    let Some(channel_type) = TYPES.iter().find(|known| known.name == type_text) else {
        let correction = nearest(type_text, TYPES.iter().map(|known| known.name));
        let message = format!(
            "type {} is unknown; {}known types are {}",
            quote_unless_secret(type_text),
            correction.map(|near| format!("did you mean \"{near}\"? ")).unwrap_or_default(),
            known()
        );
        return Err(ConfigError::at(type_name.span(), message));
    };
    let settings = (channel_type.read)(rest)?;
    if on.as_ref().is_some_and(BTreeSet::is_empty) || jobs.as_ref().is_some_and(BTreeSet::is_empty) {
        return Err(invalid("on and jobs must not be empty: the channel would report nothing".to_owned()));
    }
    let remind = remind.map_or(REMIND, TimeSpan::duration);
    Ok(NoticeChannel { name: name.to_owned(), on, jobs, remind, detail, settings })
}
