//! Alertmanager, version 2 of its API. An alert ends by itself, unless it is sent again in time.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{SecondsFormat, TimeDelta, Utc};
use longshore_core::secret_file::read_secret;
use longshore_core::{Error, Kind, Result, Stage};
use serde_json::json;

use crate::notice::{Notice, State};
use crate::request::{Call, Receiver};
use crate::settings::Alertmanager;

/// The time for which an alert lasts longer than the time until its next reminder.
const GRACE: TimeDelta = TimeDelta::hours(2);
/// The time after which the alert of a test ends.
const TEST: TimeDelta = TimeDelta::minutes(1);

/// An Alertmanager.
#[derive(Debug)]
pub(crate) struct Sender {
    channel: String,
    receiver: Receiver,
    labels: BTreeMap<String, String>,
    remind: TimeDelta,
}

impl Sender {
    pub(crate) fn new(channel: &str, settings: &Alertmanager, remind: Duration) -> Result<Self> {
        let mut receiver = Receiver::new(channel, &settings.url)?.below(&["api", "v2", "alerts"]);
        if let Some(file) = &settings.token_file {
            receiver = receiver.bearer(&read_secret(file)?)?;
        }
        let remind = TimeDelta::from_std(remind).unwrap_or(TimeDelta::days(365));
        Ok(Self { channel: channel.to_owned(), receiver, labels: settings.labels.clone(), remind })
    }

    pub(crate) async fn send(&self, notice: &Notice) -> Result<()> {
        let body = serde_json::to_string(&[self.alert(notice)]).map_err(|error| {
            Error::new(Stage::Notify, Kind::Failed, &self.channel, "cannot write the alert as JSON").because(error)
        })?;
        self.receiver.send(Call::json(body)).await
    }

    fn alert(&self, notice: &Notice) -> serde_json::Value {
        let now = Utc::now();
        let ends = match notice.state {
            State::Recovered | State::Success | State::Started | State::Skipped => now,
            State::Test => now + TEST,
            State::Onset | State::Reminder => now + self.remind + GRACE,
        };
        let time = |time: chrono::DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Millis, true);
        // The labels identify the alert: those of its end equal those of its begin.
        let mut labels = self.labels.clone();
        let named = [
            ("alertname", Some(format!("Longshore{}", camel_case(notice.event.name())))),
            (
                "severity",
                Some(
                    if notice.event.severity() == crate::Severity::Critical { "critical" } else { "warning" }
                        .to_owned(),
                ),
            ),
            ("instance", Some(notice.host.clone())),
            ("job", notice.job.clone()),
            ("series", notice.series.clone()),
            ("destination", notice.destination.clone()),
        ];
        labels.extend(named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        json!({
            "labels": labels,
            "annotations": { "summary": notice.title, "description": notice.body() },
            "startsAt": time(notice.since.min(ends)),
            "endsAt": time(ends),
        })
    }
}

/// Returns a name as Alertmanager's users write them: `RunFailed`.
fn camel_case(name: &str) -> String {
    let word = |word: &str| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_uppercase() + rest
    };
    name.split('_').map(word).collect()
}
