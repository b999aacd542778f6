//! The settings of each type of channel, as written in `[notify.NAME]` beside `type`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use longshore_core::unit::TimeSpan;
use secrecy::SecretString;
use serde::Deserialize;

/// The settings of a channel.
#[derive(Debug, Clone)]
pub enum Settings {
    /// `type = "webhook"`
    Webhook(Webhook),
    /// `type = "ntfy"`
    Ntfy(Ntfy),
    /// `type = "gotify"`
    Gotify(Gotify),
    /// `type = "slack"`
    Slack(Slack),
    /// `type = "discord"`
    Discord(Discord),
    /// `type = "teams"`
    Teams(Teams),
    /// `type = "telegram"`
    Telegram(Telegram),
    /// `type = "healthchecks"`
    Healthchecks(Healthchecks),
    /// `type = "alertmanager"`
    Alertmanager(Alertmanager),
    /// `type = "mail"`
    Mail(Mail),
    /// `type = "exec"`
    Exec(Exec),
}

/// A webhook: the notice as JSON, or a text by a template.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// The URL.
    #[schemars(with = "Option<String>")]
    pub url: Option<SecretString>,
    /// The file that contains the URL.
    pub url_file: Option<PathBuf>,
    /// The method: `POST` or `PUT`.
    #[serde(default)]
    pub method: Method,
    /// Further headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The file that contains a token, sent as `Authorization: Bearer`.
    pub token_file: Option<PathBuf>,
    /// The template of the body; without one, the notice as JSON.
    pub template: Option<String>,
    /// The type of the body.
    #[serde(default = "json_type")]
    pub content_type: String,
}

/// The method of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// POST
    #[default]
    Post,
    /// PUT
    Put,
}

fn json_type() -> String {
    "application/json".to_owned()
}

/// A topic of an ntfy server.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ntfy {
    /// The URL of the server.
    #[serde(default = "ntfy_server")]
    #[schemars(with = "String")]
    pub url: SecretString,
    /// The topic.
    pub topic: String,
    /// The file that contains an access token.
    pub token_file: Option<PathBuf>,
}

fn ntfy_server() -> SecretString {
    "https://ntfy.sh".to_owned().into()
}

/// A Gotify server.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gotify {
    /// The URL of the server.
    #[schemars(with = "String")]
    pub url: SecretString,
    /// The file that contains the token of an application.
    pub token_file: PathBuf,
}

/// An incoming webhook of Slack.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slack {
    /// The URL.
    #[schemars(with = "Option<String>")]
    pub url: Option<SecretString>,
    /// The file that contains the URL.
    pub url_file: Option<PathBuf>,
}

/// A webhook of Discord.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Discord {
    /// The URL.
    #[schemars(with = "Option<String>")]
    pub url: Option<SecretString>,
    /// The file that contains the URL.
    pub url_file: Option<PathBuf>,
}

/// A webhook of a Teams workflow.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Teams {
    /// The URL.
    #[schemars(with = "Option<String>")]
    pub url: Option<SecretString>,
    /// The file that contains the URL.
    pub url_file: Option<PathBuf>,
}

/// A chat of a Telegram bot.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Telegram {
    /// The URL of the API.
    #[serde(default = "telegram_api")]
    #[schemars(with = "String")]
    pub url: SecretString,
    /// The file that contains the token of the bot.
    pub token_file: PathBuf,
    /// The id or the name of the chat.
    pub chat_id: String,
}

fn telegram_api() -> SecretString {
    "https://api.telegram.org".to_owned().into()
}

/// A check of Healthchecks, or of a service with the same API: a dead man's switch.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Healthchecks {
    /// The ping URL.
    #[schemars(with = "Option<String>")]
    pub url: Option<SecretString>,
    /// The file that contains the ping URL.
    pub url_file: Option<PathBuf>,
}

/// An Alertmanager.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Alertmanager {
    /// The URL of the server.
    #[schemars(with = "String")]
    pub url: SecretString,
    /// The file that contains a token, sent as `Authorization: Bearer`.
    pub token_file: Option<PathBuf>,
    /// Labels that are added to each alert.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// Mail over SMTP, or by the host's sendmail.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    /// The sender.
    pub from: String,
    /// The recipients.
    pub to: Vec<String>,
    /// The host of the SMTP server; without one, the host's sendmail sends the mail.
    pub host: Option<String>,
    /// The port of the server.
    pub port: Option<u16>,
    /// The encryption of the connection.
    #[serde(default)]
    pub tls: Encryption,
    /// The user name.
    pub user: Option<String>,
    /// The file that contains the password.
    pub password_file: Option<PathBuf>,
    /// The sendmail program.
    #[serde(default = "sendmail")]
    pub sendmail: String,
}

/// The encryption of an SMTP connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encryption {
    /// STARTTLS, required.
    #[default]
    Starttls,
    /// TLS from the start.
    Tls,
    /// No encryption. The user and the password are then refused.
    None,
}

fn sendmail() -> String {
    "/usr/sbin/sendmail".to_owned()
}

/// A program that receives the notice as JSON on standard input.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exec {
    /// The program's absolute path, and its arguments.
    pub program: Vec<String>,
    /// The working directory.
    pub dir: Option<PathBuf>,
    /// Variables that are added to the environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The time limit.
    pub timeout: Option<TimeSpan>,
}
