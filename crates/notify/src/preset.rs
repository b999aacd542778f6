//! Chat services as webhooks: each is an address and a template.

use std::collections::BTreeMap;
use std::path::PathBuf;

use longshore_core::secret_file::read_secret;
use longshore_core::{Error, Kind, Result, Stage};
use secrecy::{ExposeSecret, SecretString};

use crate::settings::{Gotify, Method, Ntfy, Telegram, Webhook};

/// A message of ntfy: <https://docs.ntfy.sh/publish/#publish-as-json>
const NTFY: &str = r#"{"topic": {{ preset.topic | tojson }}, "title": {{ title | tojson }}, "message": {{ body | tojson }},
"priority": {% if severity == "critical" %}5{% elif severity == "warning" %}4{% else %}3{% endif %},
"tags": [{% if severity == "info" %}"white_check_mark"{% else %}"warning"{% endif %}]}"#;
/// A message of Gotify: <https://gotify.net/docs/pushmsg>
const GOTIFY: &str = r#"{"title": {{ title | tojson }}, "message": {{ body | tojson }},
"priority": {% if severity == "critical" %}8{% elif severity == "warning" %}5{% else %}2{% endif %}}"#;
/// A message of Slack, with the text as plain text: <https://api.slack.com/messaging/webhooks>
const SLACK: &str = r#"{"text": {{ title | tojson }}, "blocks": [
{"type": "header", "text": {"type": "plain_text", "text": {{ title | truncate_to(150) | tojson }}}},
{"type": "section", "text": {"type": "plain_text", "text": {{ body | truncate_to(3000) | tojson }}}}]}"#;
/// A message of Discord, which mentions no user:
/// <https://discord.com/developers/docs/resources/webhook>
const DISCORD: &str = r#"{"username": "Longshore", "allowed_mentions": {"parse": []}, "embeds": [
{"title": {{ title | truncate_to(256) | tojson }}, "description": {{ body | truncate_to(4000) | tojson }},
"color": {% if severity == "critical" %}14431557{% elif severity == "warning" %}16761095{% else %}2664261{% endif %}}]}"#;
/// An adaptive card of a Teams workflow.
const TEAMS: &str = r#"{"type": "message", "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive",
"content": {"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4",
"body": [{"type": "TextBlock", "size": "medium", "weight": "bolder", "wrap": true, "text": {{ title | tojson }}},
{"type": "TextBlock", "wrap": true, "text": {{ body | tojson }}}]}}]}"#;
/// A message of a Telegram bot: <https://core.telegram.org/bots/api#sendmessage>
const TELEGRAM: &str =
    r#"{"chat_id": {{ preset.chat_id | tojson }}, "text": {{ (title ~ "\n\n" ~ body) | truncate_to(4096) | tojson }}}"#;

/// A webhook with the values that its template needs.
pub(crate) struct Preset {
    pub(crate) webhook: Webhook,
    pub(crate) values: BTreeMap<&'static str, String>,
}

impl Preset {
    fn new(url: SecretString, template: &str) -> Self {
        Self::at(Some(url), None, template)
    }

    fn at(url: Option<SecretString>, url_file: Option<PathBuf>, template: &str) -> Self {
        let webhook = Webhook {
            url,
            url_file,
            method: Method::Post,
            headers: BTreeMap::new(),
            token_file: None,
            template: Some(template.to_owned()),
            content_type: "application/json".to_owned(),
        };
        Self { webhook, values: BTreeMap::new() }
    }

    pub(crate) fn slack(url: Option<SecretString>, url_file: Option<PathBuf>) -> Self {
        Self::at(url, url_file, SLACK)
    }

    pub(crate) fn discord(url: Option<SecretString>, url_file: Option<PathBuf>) -> Self {
        Self::at(url, url_file, DISCORD)
    }

    pub(crate) fn teams(url: Option<SecretString>, url_file: Option<PathBuf>) -> Self {
        Self::at(url, url_file, TEAMS)
    }

    pub(crate) fn ntfy(settings: &Ntfy) -> Self {
        let mut preset = Self::new(settings.url.clone(), NTFY);
        preset.webhook.token_file = settings.token_file.clone();
        preset.values.insert("topic", settings.topic.clone());
        preset
    }

    pub(crate) fn gotify(settings: &Gotify) -> Result<Self> {
        let token = read_secret(&settings.token_file)?;
        let mut preset = Self::new(join(&settings.url, "message"), GOTIFY);
        preset.webhook.headers.insert("X-Gotify-Key".to_owned(), token.expose_secret().to_owned());
        Ok(preset)
    }

    pub(crate) fn telegram(channel: &str, settings: &Telegram) -> Result<Self> {
        let token = read_secret(&settings.token_file)?;
        let is_valid = |char: char| char.is_ascii_alphanumeric() || matches!(char, ':' | '_' | '-');
        if !token.expose_secret().chars().all(is_valid) {
            let message = "the token of the bot contains other characters than letters, digits, : _ and -";
            return Err(Error::new(Stage::Notify, Kind::Usage, channel, message));
        }
        let mut preset = Self::new(join(&settings.url, &format!("bot{}/sendMessage", token.expose_secret())), TELEGRAM);
        preset.values.insert("chat_id", settings.chat_id.clone());
        Ok(preset)
    }
}

fn join(url: &SecretString, path: &str) -> SecretString {
    format!("{}/{path}", url.expose_secret().trim().trim_end_matches('/')).into()
}
