//! A channel: checks and sends notices.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use longshore_core::{Error, Kind, Result, Stage};
use tokio::time::{Instant, timeout};

use crate::notice::{Event, Notice, State};
use crate::preset::Preset;
use crate::request::TIMEOUT;
use crate::settings::Settings;
use crate::{alertmanager, exec, healthchecks, mail, webhook};

/// The number of attempts after the first one.
const RETRIES: usize = 2;
/// The pause before the second attempt; the one before the third is twice as long.
const PAUSE: Duration = Duration::from_millis(500);

/// A channel of notices.
#[derive(Debug)]
pub struct Channel {
    name: String,
    sender: Sender,
}

#[derive(Debug)]
enum Sender {
    /// Boxed because it is much larger than the others.
    Webhook(Box<webhook::Sender>),
    Healthchecks(healthchecks::Sender),
    Alertmanager(alertmanager::Sender),
    Mail(mail::Sender),
    Exec(exec::Sender),
}

impl Channel {
    /// Creates a channel: reads its secrets, and connects to no host. `remind` is the time between
    /// reminders.
    ///
    /// # Errors
    ///
    /// Fails if a secret file cannot be read or is readable by all, or if a setting is invalid.
    pub fn new(name: &str, settings: &Settings, remind: Duration) -> Result<Self> {
        let of_preset = |preset: Preset| webhook::Sender::preset(name, preset).map(Box::new).map(Sender::Webhook);
        let sender = match settings {
            Settings::Webhook(settings) => webhook::Sender::new(name, settings).map(Box::new).map(Sender::Webhook),
            Settings::Ntfy(settings) => of_preset(Preset::ntfy(settings)),
            Settings::Gotify(settings) => of_preset(Preset::gotify(settings)?),
            Settings::Slack(at) => of_preset(Preset::slack(at.url.clone(), at.url_file.clone())),
            Settings::Discord(at) => of_preset(Preset::discord(at.url.clone(), at.url_file.clone())),
            Settings::Teams(at) => of_preset(Preset::teams(at.url.clone(), at.url_file.clone())),
            Settings::Telegram(settings) => of_preset(Preset::telegram(name, settings)?),
            Settings::Healthchecks(settings) => healthchecks::Sender::new(name, settings).map(Sender::Healthchecks),
            Settings::Alertmanager(settings) => {
                alertmanager::Sender::new(name, settings, remind).map(Sender::Alertmanager)
            }
            Settings::Mail(settings) => mail::Sender::new(name, settings).map(Sender::Mail),
            Settings::Exec(settings) => exec::Sender::new(name, settings).map(Sender::Exec),
        };
        Ok(Self { name: name.to_owned(), sender: sender? })
    }

    /// Returns true for a dead man's switch, which receives the begin and the end of every run.
    pub fn is_dead_mans_switch(&self) -> bool {
        matches!(self.sender, Sender::Healthchecks(_))
    }

    /// Checks the channel without sending: renders a notice about each event, and looks at
    /// programs.
    ///
    /// # Errors
    ///
    /// Fails if the template names a field that does not exist, or if another user can replace the
    /// program.
    pub fn check(&self) -> Result<()> {
        let states = [State::Onset, State::Reminder, State::Recovered, State::Test];
        let events = Event::DEFAULT.into_iter().chain([Event::RunStarted, Event::RunOk]);
        for notice in events.flat_map(|event| states.map(|state| sample(event, state))) {
            match &self.sender {
                Sender::Webhook(sender) => drop(sender.body(&notice)?),
                Sender::Mail(sender) => drop(sender.message(&notice)?),
                Sender::Healthchecks(_) | Sender::Alertmanager(_) | Sender::Exec(_) => {}
            }
        }
        match &self.sender {
            Sender::Mail(sender) => sender.check(),
            Sender::Exec(sender) => sender.check(),
            Sender::Webhook(_) | Sender::Healthchecks(_) | Sender::Alertmanager(_) => Ok(()),
        }
    }

    /// Sends a notice: up to three attempts, each of at most 10 seconds. None begins after 20
    /// seconds, and none after a mail server did not answer: the next one would get no answer
    /// either.
    ///
    /// # Errors
    ///
    /// Fails with the error of the last attempt.
    pub async fn send(&self, notice: &Notice) -> Result<()> {
        let policy = ExponentialBuilder::default().with_min_delay(PAUSE).with_factor(2.0).with_max_times(RETRIES);
        let attempts = (|| self.attempt(notice)).retry(policy);
        let begun = Instant::now();
        let limit = if matches!(self.sender, Sender::Mail(_)) { TIMEOUT } else { 2 * TIMEOUT };
        attempts.when(|error: &Error| error.kind() == Kind::Unavailable && begun.elapsed() < limit).await
    }

    async fn attempt(&self, notice: &Notice) -> Result<()> {
        let sent = async {
            match &self.sender {
                Sender::Webhook(sender) => sender.send(notice).await,
                Sender::Healthchecks(sender) => sender.send(notice).await,
                Sender::Alertmanager(sender) => sender.send(notice).await,
                Sender::Mail(sender) => sender.send(notice).await,
                Sender::Exec(sender) => sender.send(notice).await,
            }
        };
        // These have a time limit of their own.
        let has_limit = matches!(self.sender, Sender::Exec(_) | Sender::Mail(_));
        let limit = if has_limit { Duration::MAX } else { TIMEOUT };
        timeout(limit, sent).await.unwrap_or_else(|_| {
            let message = format!("no answer within {} s", TIMEOUT.as_secs());
            Err(Error::new(Stage::Notify, Kind::Unavailable, &self.name, message))
        })
    }
}

/// Returns a notice with a value in each field.
fn sample(event: Event, state: State) -> Notice {
    let text = "This notice checks the template of a channel.".to_owned();
    Notice {
        job: Some("nightly".to_owned()),
        series: Some("main/shop".to_owned()),
        destination: Some("nas".to_owned()),
        verb: Some("run".to_owned()),
        run: Some("2026-06-07_091500-run-1f0c9a7e".to_owned()),
        outcome: Some("failed".to_owned()),
        exit_code: Some(2),
        detail: Some("connect: cannot connect to the server".to_owned()),
        ..Notice::new(event, state, "db1", "a \"title\"".to_owned(), text)
    }
}
