//! Webhooks: the notice as JSON, or a text by a template.

use std::collections::BTreeMap;
use std::path::PathBuf;

use longshore_core::secret_file::read_secret;
use longshore_core::{Error, Kind, Result, Stage};
use secrecy::SecretString;

use crate::notice::Notice;
use crate::preset::Preset;
use crate::request::{Call, Receiver};
use crate::settings::{Method, Webhook};
use crate::template::Template;

/// A webhook.
#[derive(Debug)]
pub(crate) struct Sender {
    channel: String,
    receiver: Receiver,
    method: reqwest::Method,
    content_type: String,
    template: Option<Template>,
    values: BTreeMap<&'static str, String>,
}

impl Sender {
    pub(crate) fn new(channel: &str, settings: &Webhook) -> Result<Self> {
        let mut receiver = Receiver::new(channel, &url(channel, settings.url.as_ref(), settings.url_file.as_ref())?)?;
        for (name, value) in &settings.headers {
            receiver = receiver.header(name, value)?;
        }
        if let Some(file) = &settings.token_file {
            receiver = receiver.bearer(&read_secret(file)?)?;
        }
        Ok(Self {
            channel: channel.to_owned(),
            receiver,
            method: match settings.method {
                Method::Post => reqwest::Method::POST,
                Method::Put => reqwest::Method::PUT,
            },
            content_type: settings.content_type.clone(),
            template: settings.template.as_ref().map(|source| Template::parse(channel, source)).transpose()?,
            values: BTreeMap::new(),
        })
    }

    pub(crate) fn preset(channel: &str, preset: Preset) -> Result<Self> {
        Ok(Self { values: preset.values, ..Self::new(channel, &preset.webhook)? })
    }

    /// Returns the body for a notice.
    pub(crate) fn body(&self, notice: &Notice) -> Result<String> {
        match &self.template {
            Some(template) => template.render(&self.channel, notice, &self.values),
            None => serde_json::to_string(notice).map_err(|error| {
                Error::new(Stage::Notify, Kind::Failed, &self.channel, "cannot write the notice as JSON").because(error)
            }),
        }
    }

    pub(crate) async fn send(&self, notice: &Notice) -> Result<()> {
        let body = self.body(notice)?;
        let call = Call { method: self.method.clone(), content_type: &self.content_type, ..Call::json(body) };
        self.receiver.send(call).await
    }
}

/// Returns the URL of a channel, from the configuration or from a secret file.
pub(crate) fn url(channel: &str, url: Option<&SecretString>, file: Option<&PathBuf>) -> Result<SecretString> {
    let usage = |message: &str| Err(Error::new(Stage::Notify, Kind::Usage, channel, message));
    match (url, file) {
        (Some(url), None) => Ok(url.clone()),
        (None, Some(file)) => read_secret(file),
        (None, None) => usage("has no url: set url or url_file"),
        (Some(_), Some(_)) => usage("has both url and url_file: remove one"),
    }
}
