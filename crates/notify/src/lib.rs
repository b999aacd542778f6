//! Channels of notices: webhooks, chat services, mail, Alertmanager, healthchecks and programs.
//!
//! | module | contents |
//! | --- | --- |
//! | `notice` | a notice, as each channel receives it |
//! | `settings` | the settings of each type of channel |
//! | `preset` | chat services as webhooks |
//! | `channel` | a channel: checks and sends |
//! | `template` | the text of a webhook |
//! | `request` | requests over HTTP |
//! | `webhook`, `healthchecks`, `alertmanager`, `mail`, `exec` | the types of channels |
//!
//! A secret, such as the URL of a webhook, is in no error and in no log.

mod alertmanager;
mod channel;
mod exec;
mod healthchecks;
mod mail;
mod notice;
mod preset;
mod request;
mod settings;
mod template;
#[cfg(test)]
mod tests;
mod webhook;

pub use self::channel::Channel;
pub use self::notice::{Event, Notice, Severity, State};
pub use self::settings::{
    Alertmanager, Discord, Exec, Gotify, Healthchecks, Mail, Ntfy, Settings, Slack, Teams, Telegram, Webhook,
};
