//! Notices: the problems that reports and the status show, and the channels that report them.
//!
//! | file | contents |
//! | --- | --- |
//! | `matter.rs` | a problem, and its identity over time |
//! | `report_matters.rs` | the problems in the report of a run |
//! | `status_matters.rs` | the problems in the status |
//! | `plan.rs` | the notices that are due, given those that were sent |
//! | `memory.rs` | the notices that were sent: a small file in `state_dir` |
//!
//! A problem is reported at its onset, again after each `remind`, and once when it is over. If the
//! memory of what was sent is lost, problems are reported again.

mod matter;
mod memory;
mod plan;
mod report_matters;
mod status_matters;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use futures_util::future::join_all;
use longshore_config::{Config, NoticeChannel};
use longshore_core::check::Finding;
use longshore_core::run_report::{Details, Outcome, RunReport};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_notify::{Channel, Event, Notice, Settings, State};

use self::matter::{Matter, Scope};
use self::memory::MemoryFile;
use self::plan::plan;
use crate::counters::{CounterFile, NotificationKey};
use crate::run_history::RUN;
use crate::status::Status;

/// The time after which a channel takes no further notice of one run.
const CHANNEL_TIMEOUT: Duration = Duration::from_secs(30);

/// The channels of a configuration.
pub struct Notifier {
    host: String,
    channels: Vec<(NoticeChannel, Result<Channel>)>,
    memory_file: Result<MemoryFile>,
    counter_file: Option<CounterFile>,
}

/// The notices of one channel, and the changes to its memory if they are sent.
struct Outgoing<'a> {
    settings: &'a NoticeChannel,
    channel: &'a Result<Channel>,
    /// The notices, each with the matter that it reports, if the memory contains it.
    notices: Vec<(Notice, Option<Matter>)>,
    /// The problems that are over without a notice.
    forgotten: Vec<(State, Matter)>,
}

impl Notifier {
    /// Creates the channels of a configuration. A channel with a wrong setting fails when it should
    /// send.
    pub fn of(config: &Config) -> Self {
        let channel = |settings: &NoticeChannel| {
            (settings.clone(), Channel::new(&settings.name, &settings.settings, settings.remind))
        };
        Self {
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            channels: config.notify.values().map(channel).collect(),
            memory_file: MemoryFile::of(config),
            // Without a folder, the memory cannot be written either, which is a warning.
            counter_file: CounterFile::of(config).ok(),
        }
    }

    /// Returns true if a channel of a configuration reports that runs begin.
    pub fn reports_starts(config: &Config) -> bool {
        config.notify.values().any(|channel| match &channel.on {
            Some(on) => on.contains(&Event::RunStarted),
            None => matches!(channel.settings, Settings::Healthchecks(_)),
        })
    }

    /// Reports that a run begins. Returns warnings.
    pub async fn run_started(&self, report: &RunReport) -> Vec<String> {
        if report.verb != RUN {
            return Vec::new();
        }
        let notice = report_matters::started(&self.host, report);
        self.send_all(self.events(Event::RunStarted, report.job.as_deref(), &notice)).await
    }

    /// Reports the end of a run, and the problems that it shows. Returns warnings.
    pub async fn run_ended(&self, report: &RunReport, details: &Details) -> Vec<String> {
        let mut outgoing = Vec::new();
        if report.verb == RUN && report.outcome != Outcome::Locked {
            let (event, notice) = report_matters::ended(&self.host, report, details);
            // Channels other than dead man's switches report failures as problems. A run that was
            // skipped is no success: a dead man's switch records it, and still waits for a run.
            let is_ok = event == Event::RunOk && report.outcome != Outcome::Skipped;
            let is_wanted = |outgoing: &Outgoing<'_>| is_ok || is_switch(outgoing.channel);
            outgoing.extend(self.events(event, report.job.as_deref(), &notice).into_iter().filter(is_wanted));
        }
        let (matters, scope) = report_matters::matters(report, details);
        outgoing.extend(self.problems(&matters, &scope));
        self.send_all(outgoing).await
    }

    /// Reports the problems of the status. Returns warnings.
    pub async fn status_seen(&self, status: &Status) -> Vec<String> {
        let (matters, scope) = status_matters::matters(status);
        self.send_all(self.problems(&matters, &scope)).await
    }

    /// Sends a test to one channel.
    ///
    /// # Errors
    ///
    /// Fails if there is no such channel, or if the test was not sent.
    pub async fn test(&self, name: &str) -> Result<()> {
        let Some((_, channel)) = self.channels.iter().find(|(settings, _)| settings.name == name) else {
            let names = self.channels.iter().map(|(settings, _)| settings.name.as_str());
            return Err(Error::new(Stage::Config, Kind::Usage, name, "there is no such channel").hint(
                longshore_config::suggestion::hint(name, names, "add a table [notify.NAME] to the configuration"),
            ));
        };
        let (title, text) = (
            format!("Longshore: test of channel {name} on {}", self.host),
            "This is a test by `longshore notify test`. No backup has a problem.".to_owned(),
        );
        let notice = Notice::new(Event::Warning, State::Test, &self.host, title, text);
        let sent = match channel {
            Ok(channel) => channel.send(&notice).await,
            Err(error) => Err(error.clone()),
        };
        self.count(name, sent.is_ok());
        sent
    }

    /// Checks all channels without sending: reads secrets, renders templates and looks at programs.
    pub fn check(&self, config: &Config) -> Vec<Finding> {
        self.channels.iter().flat_map(|(settings, channel)| check(config, settings, channel)).collect()
    }

    /// Returns the notice of an event for each channel that wants it.
    fn events(&self, event: Event, job: Option<&str>, notice: &Notice) -> Vec<Outgoing<'_>> {
        let wanted = self.channels.iter().filter(|(settings, channel)| {
            let is_event_wanted = match &settings.on {
                Some(on) => on.contains(&event),
                None => is_switch(channel),
            };
            is_event_wanted && includes_job(settings, job)
        });
        let outgoing = wanted.map(|(settings, channel)| {
            let detail = notice.detail.clone().filter(|_| settings.detail);
            Outgoing {
                settings,
                channel,
                notices: vec![(Notice { detail, ..notice.clone() }, None)],
                forgotten: Vec::new(),
            }
        });
        outgoing.collect()
    }

    /// Returns the notices about problems that are due at each channel.
    fn problems(&self, matters: &[Matter], scope: &Scope) -> Vec<Outgoing<'_>> {
        let memory = self.memory_file.as_ref().map(MemoryFile::read).unwrap_or_default();
        let now = Utc::now();
        let channels = self.channels.iter().filter(|(_, channel)| !is_switch(channel));
        let outgoing = channels.map(|(settings, channel)| {
            let on = settings.on.clone().unwrap_or_else(|| BTreeSet::from(Event::DEFAULT));
            let of_channel: Vec<Matter> =
                matters.iter().filter(|matter| includes_job(settings, matter.job.as_deref())).cloned().collect();
            let remind = TimeDelta::from_std(settings.remind).unwrap_or(TimeDelta::MAX);
            let due = plan(&of_channel, memory.of(&settings.name), scope, (&on, remind), now);
            let is_silent =
                |(state, _): &(State, Matter)| *state == State::Recovered && !on.contains(&Event::Recovered);
            let (forgotten, due): (Vec<_>, Vec<_>) = due.into_iter().partition(is_silent);
            let notices = due
                .into_iter()
                .map(|(state, matter)| (matter.notice(state, &self.host, settings.detail), Some(matter)));
            Outgoing { settings, channel, notices: notices.collect(), forgotten }
        });
        outgoing.filter(|outgoing| !outgoing.notices.is_empty() || !outgoing.forgotten.is_empty()).collect()
    }

    /// Sends notices: the channels side by side, the notices of a channel one after the other.
    async fn send_all(&self, outgoing: Vec<Outgoing<'_>>) -> Vec<String> {
        let results = join_all(outgoing.into_iter().map(async |outgoing| self.send(outgoing).await)).await;
        results.into_iter().flatten().collect()
    }

    async fn send(&self, outgoing: Outgoing<'_>) -> Option<String> {
        let name = &outgoing.settings.name;
        let begun = Instant::now();
        let (mut unsent, mut first_error, mut unavailable) = (0, None, None::<Error>);
        let mut changes: Vec<(State, Matter)> = outgoing.forgotten;
        for (notice, matter) in outgoing.notices {
            let sent = match (outgoing.channel, &unavailable) {
                // A channel that does not answer would take its time for each notice.
                (_, Some(error)) | (Err(error), None) => Err(error.clone()),
                (Ok(_), None) if begun.elapsed() > CHANNEL_TIMEOUT => {
                    let message = format!("all notices took longer than {} s", CHANNEL_TIMEOUT.as_secs());
                    Err(Error::new(Stage::Notify, Kind::Unavailable, name, message))
                }
                (Ok(channel), None) => channel.send(&notice).await,
            };
            self.count(name, sent.is_ok());
            match sent {
                Ok(()) => changes.extend(matter.map(|matter| (notice.state, matter))),
                Err(error) => {
                    unsent += 1;
                    unavailable =
                        unavailable.or_else(|| Some(error.clone()).filter(|it| it.kind() == Kind::Unavailable));
                    first_error.get_or_insert(error);
                }
            }
        }
        let remembered = match &self.memory_file {
            _ if changes.is_empty() => Ok(()),
            Ok(memory_file) => memory_file.update(|memory| memory.apply(name, changes)),
            Err(error) => Err(error.clone()),
        };
        match (first_error, remembered) {
            (Some(error), _) => {
                let notices = if unsent == 1 { "a notice was" } else { &format!("{unsent} notices were") };
                Some(format!("{notices} not sent to \"{name}\": {}", error.chain()))
            }
            (None, Err(error)) => Some(format!("the memory of sent notices: {}", error.chain())),
            (None, Ok(())) => None,
        }
    }

    fn count(&self, channel: &str, sent: bool) {
        let key = NotificationKey { channel: channel.to_owned(), sent };
        let counted = self
            .counter_file
            .as_ref()
            .map(|file| file.update(|counters| *counters.notifications.entry(key).or_default() += 1));
        // The counters of the run itself fail in the same way, which is a warning.
        counted.transpose().ok();
    }
}

fn is_switch(channel: &Result<Channel>) -> bool {
    channel.as_ref().is_ok_and(Channel::is_dead_mans_switch)
}

/// Returns true if a channel reports a job. Problems that belong to no job are always reported.
fn includes_job(settings: &NoticeChannel, job: Option<&str>) -> bool {
    settings.jobs.as_ref().zip(job).is_none_or(|(jobs, job)| jobs.contains(job))
}

/// Checks the settings and the texts of the channels, but neither their secrets nor their programs,
/// which may be on another host.
///
/// # Errors
///
/// Fails with [`Kind::Usage`] if a channel could never send.
pub fn check_settings(config: &Config) -> Result<()> {
    config.notify.values().try_for_each(|NoticeChannel { name, settings, remind, .. }| {
        match Channel::new(name, settings, *remind).and_then(|channel| channel.check()) {
            Err(error) if error.kind() == Kind::Usage => Err(error),
            _ => Ok(()),
        }
    })
}

fn check(config: &Config, settings: &NoticeChannel, channel: &Result<Channel>) -> Vec<Finding> {
    let subject = format!("notify {}", settings.name);
    let checked = channel.as_ref().map_err(Clone::clone).and_then(Channel::check);
    let mut findings = vec![match checked {
        Ok(()) => Finding::good(&subject, "its settings and texts are valid; `longshore notify test` sends a test"),
        Err(error) => Finding::failed(&subject, &error),
    }];
    let unknown = settings.jobs.iter().flatten().filter(|job| !config.jobs.contains_key(*job));
    findings.extend(unknown.map(|job| {
        let message = format!("reports job \"{job}\", which this configuration does not contain");
        Finding::warning(&subject, message, "correct jobs, unless another host runs the job")
    }));
    if settings.on.as_ref().is_some_and(|on| !on.contains(&Event::Recovered)) && !is_switch(channel) {
        let message = "does not report the end of problems: a channel without notices looks like one without problems";
        findings.push(Finding::warning(&subject, message, "add \"recovered\" to on"));
    }
    findings
}
