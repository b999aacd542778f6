//! The text of a webhook: a template of the fields of a notice.

use std::collections::BTreeMap;

use longshore_core::{Error, Kind, Result, Stage};
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value};

use crate::notice::Notice;

/// The name of the only template of an environment.
const NAME: &str = "body";

/// A parsed template.
#[derive(Debug)]
pub(crate) struct Template {
    environment: Environment<'static>,
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    ///
    /// Fails with [`Kind::Usage`] for invalid syntax.
    pub(crate) fn parse(channel: &str, source: &str) -> Result<Self> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.add_filter("truncate_to", truncate_to);
        environment.add_template_owned(NAME, source.to_owned()).map_err(|error| failed(channel, &error))?;
        Ok(Self { environment })
    }

    /// Renders a notice.
    ///
    /// # Errors
    ///
    /// Fails with [`Kind::Usage`] if the template names a field that does not exist.
    pub(crate) fn render(&self, channel: &str, notice: &Notice, preset: &Values) -> Result<String> {
        let template = self.environment.get_template(NAME);
        let context = Value::from(Serde(Context { notice, body: notice.body(), preset }));
        template.and_then(|template| template.render(context)).map_err(|error| failed(channel, &error))
    }
}

/// The variables of a template: the fields of the notice, and its whole text.
#[derive(serde::Serialize)]
struct Context<'a> {
    #[serde(flatten)]
    notice: &'a Notice,
    /// The text with the detail.
    body: String,
    preset: &'a Values,
}

/// The values of a preset, by name.
pub(crate) type Values = BTreeMap<&'static str, String>;

/// Shortens a text to a number of characters, the most that a service accepts.
fn truncate_to(text: String, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        None => text,
        Some(_) => text.chars().take(characters.saturating_sub(1)).chain(['…']).collect(),
    }
}

fn failed(channel: &str, error: &minijinja::Error) -> Error {
    let place = error.line().map(|line| format!(" in line {line}")).unwrap_or_default();
    let reason = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    let message = format!("the template is wrong{place}: {}{reason}", error.kind());
    Error::new(Stage::Notify, Kind::Usage, channel, message)
        .hint("the variables are the fields of a notice in longshore-monitoring(7), such as {{ title }}")
}
