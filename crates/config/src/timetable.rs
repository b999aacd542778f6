//! `schedule` of a job: the expression of its runs, or the table `[job.NAME.schedule]` with those
//! of other verbs.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use chrono_tz::Tz;
use longshore_core::unit::TimeSpan;
use longshore_schedule::task::delay;
use longshore_schedule::{Expression, Schedule, Task, Verb};
use serde::Deserialize;
use toml::Spanned;
use toml::de::DeValue;

use crate::error::ConfigError;
use crate::table::read;

/// The default number of retries after a failure.
const RETRY: u32 = 2;
/// The maximum number of retries.
const MAX_RETRY: u32 = 100;
/// The default time between a failure and its retry.
const RETRY_WAIT: TimeSpan = TimeSpan::new(Duration::from_secs(600));
/// The longest jitter, and the longest time between a failure and its retry.
const MAX_WAIT: TimeSpan = TimeSpan::new(Duration::from_secs(24 * 3600));

/// The schedules of a job.
#[derive(Debug, Clone)]
pub struct Timetable {
    /// The times at which each verb is due.
    pub schedules: BTreeMap<Verb, Schedule>,
    /// The percentage of backups that a scheduled verification reads; `None` for the newest ones.
    pub verify_percent: Option<u8>,
    /// The length of time over which the starts of different hosts and jobs are spread.
    pub jitter: TimeSpan,
    /// True if the newest of the missed due times is caught up.
    pub catch_up: bool,
    /// The number of retries after a failure.
    pub retry: u32,
    /// The time between a failure and its retry.
    pub retry_wait: TimeSpan,
}

impl Default for Timetable {
    fn default() -> Self {
        Self {
            schedules: BTreeMap::new(),
            verify_percent: None,
            jitter: TimeSpan::new(Duration::ZERO),
            catch_up: true,
            retry: RETRY,
            retry_wait: RETRY_WAIT,
        }
    }
}

impl Timetable {
    /// Returns the scheduled tasks of the job of this name on a host.
    pub fn tasks(&self, job: &str, host: &str) -> Vec<Task> {
        let retry_wait = TimeDelta::from_std(self.retry_wait.duration()).unwrap_or(TimeDelta::zero());
        let task = |(verb, schedule): (&Verb, &Schedule)| Task {
            job: job.to_owned(),
            verb: *verb,
            schedule: schedule.clone(),
            delay: delay(self.jitter, host, job, *verb),
            catch_up: self.catch_up,
            retry: self.retry,
            retry_wait,
        };
        self.schedules.iter().map(task).collect()
    }
}

/// The cron expression of the runs, or a table with the expressions of several verbs.
#[derive(schemars::JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, clippy::large_enum_variant, reason = "a schema without values: the reader looks at the type first")]
pub(crate) enum Setting {
    /// The cron expression of the runs.
    Run(Expression),
    /// The cron expressions of several verbs.
    Verbs(Written),
}

/// `[job.NAME.schedule]`: the cron expressions of the job's verbs.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    /// The times of runs.
    run: Option<Expression>,
    /// The times of verifications.
    verify: Option<Expression>,
    /// The percentage of backups that a verification reads. By default the newest ones are read.
    #[schemars(range(min = 1, max = 100))]
    verify_percent: Option<u8>,
    /// The times of drills.
    drill: Option<Expression>,
    /// The times at which missing backups are copied between the destinations.
    sync: Option<Expression>,
    /// The times at which backups are pruned.
    prune: Option<Expression>,
    /// The length of time over which the starts of different hosts and jobs are spread, by default
    /// `"0s"`.
    jitter: Option<TimeSpan>,
    /// True if the newest of the missed times is caught up, which is the default.
    catch_up: Option<bool>,
    /// The number of retries after a failure, by default 2.
    #[schemars(range(max = 100))]
    retry: Option<u32>,
    /// The time between a failure and its retry, by default `"10m"`.
    retry_wait: Option<TimeSpan>,
}

/// Reads the setting of job `name`, in the time zone of the job.
pub(crate) fn timetable(name: &str, value: Spanned<DeValue<'_>>, zone: Tz) -> Result<Timetable, ConfigError> {
    let usual = Timetable::default();
    if !matches!(value.get_ref(), DeValue::Table(_)) {
        let span = value.span();
        let expression = read(value).map_err(|error| ConfigError::at(span, error.message()))?;
        let run = Schedule::new(expression, zone);
        return Ok(Timetable { schedules: BTreeMap::from([(Verb::Run, run)]), ..usual });
    }
    let span = value.span();
    let invalid = |message: String| ConfigError::at(span.clone(), format!("job \"{name}\": schedule: {message}"));
    let written: Written = read(value)?;
    let expressions = [
        (Verb::Run, written.run),
        (Verb::Verify, written.verify),
        (Verb::Drill, written.drill),
        (Verb::Sync, written.sync),
        (Verb::Prune, written.prune),
    ];
    let schedules =
        expressions.into_iter().filter_map(|(verb, expression)| Some((verb, Schedule::new(expression?, zone))));
    let timetable = Timetable {
        schedules: schedules.collect(),
        verify_percent: written.verify_percent,
        jitter: written.jitter.unwrap_or(usual.jitter),
        catch_up: written.catch_up.unwrap_or(usual.catch_up),
        retry: written.retry.unwrap_or(usual.retry),
        retry_wait: written.retry_wait.unwrap_or(usual.retry_wait),
    };
    if timetable.schedules.is_empty() {
        return Err(invalid("schedules nothing: add run = \"0 3 * * *\"".to_owned()));
    }
    if timetable.verify_percent.is_some() && !timetable.schedules.contains_key(&Verb::Verify) {
        return Err(invalid("verify_percent needs verify, such as verify = \"0 5 * * sun\"".to_owned()));
    }
    if timetable.verify_percent.is_some_and(|percent| !(1..=100).contains(&percent)) {
        return Err(invalid("verify_percent must be from 1 to 100".to_owned()));
    }
    if timetable.retry > MAX_RETRY {
        return Err(invalid(format!("retry must be at most {MAX_RETRY}")));
    }
    for (setting, span) in [("jitter", timetable.jitter), ("retry_wait", timetable.retry_wait)] {
        if span > MAX_WAIT {
            return Err(invalid(format!("{setting} must be at most 24h")));
        }
    }
    Ok(timetable)
}
