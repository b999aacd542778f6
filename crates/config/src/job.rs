//! A job of the configuration.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::TimeDelta;
use longshore_core::plugin::{Cluster, CompressBy, JobContext};
use longshore_core::stage::{Dump, Encrypt, Verify};
use longshore_core::terms::MaxAge;
use longshore_retention::Policy;
use longshore_schedule::{Schedule, Verb};
use toml::Spanned;
use toml::de::DeValue;

use crate::destination::{Destination, MAX_PARALLEL};
use crate::differential::Differential;
use crate::drill::{self, DrillSettings};
use crate::error::{ConfigError, quote_unless_secret};
use crate::hook::{self, Hook};
use crate::incremental::Incremental;
use crate::registry::{Builder, Registry};
use crate::table::{is_none, list_of, look_up, read};
use crate::timetable::{Timetable, timetable};
use crate::written;

/// A job of the configuration.
#[derive(Clone)]
pub struct Job {
    /// The name of the job.
    pub name: String,
    /// The cluster that the job reads, and the settings for reading it.
    pub site: JobContext,
    /// True if a standby's replay is paused during the dump.
    pub pause_replay: bool,
    /// The dump stages.
    pub dump: Vec<Builder<dyn Dump>>,
    /// The verifiers; `None` means the default.
    pub verify: Option<Vec<Builder<dyn Verify>>>,
    /// The encryption; `None` if the job sets `type = "none"`.
    pub encrypt: Option<Builder<dyn Encrypt>>,
    /// The names of the job's destinations.
    pub ship: Vec<String>,
    /// The retention policy at each destination that has one.
    pub retention: BTreeMap<String, Policy>,
    /// The recovery window of the cluster's WAL archive, if it has one that is limited.
    pub recovery_window: Option<TimeDelta>,
    /// The settings of incremental base backups; `None` if every base backup is a full one.
    pub incremental: Option<Incremental>,
    /// The settings of dumps stored as differences; `None` if every dump is a full one.
    pub differential: Option<Differential>,
    /// The maximum number of databases dumped at once.
    pub parallel: usize,
    /// The maximum age of a series' newest backup at each destination.
    pub max_age: Option<MaxAge>,
    /// The schedule of the job's runs, the same as in the timetable.
    pub schedule: Option<Schedule>,
    /// The schedules of all verbs.
    pub timetable: Timetable,
    /// The programs that run before and after the job.
    pub hooks: Vec<Hook>,
    /// The settings of the job's drills.
    pub drill: DrillSettings,
}

/// The tables that jobs may refer to.
pub(crate) struct References<'a> {
    pub(crate) clusters: BTreeMap<String, written::Cluster>,
    pub(crate) destinations: &'a BTreeMap<String, Destination>,
    pub(crate) policies: &'a BTreeMap<String, Policy>,
    pub(crate) plugin_dir: Option<&'a Path>,
}

impl References<'_> {
    /// Reads a job.
    pub(crate) fn job(&self, name: &str, value: Spanned<DeValue<'_>>, registry: &Registry) -> Result<Job, ConfigError> {
        let span = value.span();
        let invalid = |message: String| ConfigError::at(span.clone(), format!("job \"{name}\": {message}"));
        let DeValue::Table(mut table) = value.into_inner() else {
            return Err(invalid("must be a table".to_owned()));
        };
        let plugin_dir = self.plugin_dir;
        let [dump, verify, encrypt, drill, schedule, hooks] =
            ["dump", "verify", "encrypt", "drill", "schedule", "hook"].map(|setting| table.remove(setting));
        let settings: written::Job = read(Spanned::new(span.clone(), DeValue::Table(table)))?;

        let dump = dump
            .map(|dump| {
                list_of("dump", "dump = [{ type = \"pg_dump\" }]", dump, |value| registry.dump.read(value, plugin_dir))
            })
            .transpose()?
            .unwrap_or_default();
        if dump.is_empty() {
            return Err(invalid("dumps nothing: add dump = [{ type = \"pg_dump\" }]".to_owned()));
        }
        let verify = verify
            .map(|verify| {
                list_of("verify", "verify = [{ type = \"pg_archive\" }]", verify, |value| {
                    registry.verify.read(value, plugin_dir)
                })
            })
            .transpose()?;
        let encrypt = match encrypt {
            None => {
                let message = "has no encrypt: add encrypt = { type = \"age\", recipients = [\"age1…\"] }, or encrypt = { type = \"none\" } to store backups unencrypted";
                return Err(invalid(message.to_owned()));
            }
            Some(encrypt) if is_none(&encrypt) => None,
            Some(encrypt) => Some(registry.encrypt.read(encrypt, plugin_dir)?),
        };
        let hook = |value: Spanned<DeValue<'_>>| {
            let span = value.span();
            read::<hook::Written>(value)?.resolve().map_err(|message| ConfigError::at(span, message))
        };
        let form = format!("[[job.{name}.hook]], with two brackets, for each hook");
        let hooks = hooks.map(|hooks| list_of("hook", &form, hooks, hook)).transpose()?.unwrap_or_default();
        if settings.ship.is_empty() {
            return Err(invalid("ships to no destination".to_owned()));
        }
        for (index, destination) in settings.ship.iter().enumerate() {
            look_up(self.destinations, destination, "destination").map_err(&invalid)?;
            if settings.ship[..index].contains(destination) {
                return Err(invalid(format!("ships to \"{destination}\" twice")));
            }
        }
        if !(1..=MAX_PARALLEL).contains(&settings.parallel) {
            return Err(invalid(format!("parallel must be from 1 to {MAX_PARALLEL}")));
        }
        // Each artifact is shipped to all destinations at once, so the lowest limit applies.
        let bounds = settings.ship.iter().filter_map(|name| self.destinations.get(name)?.parallel);
        let parallel = bounds.chain([settings.parallel]).min().unwrap_or(1);
        let cluster = look_up(&self.clusters, &settings.cluster, "cluster").map_err(&invalid)?;
        if settings.timezone.is_some() && schedule.is_none() {
            return Err(invalid("timezone needs a schedule".to_owned()));
        }
        let zone = settings.timezone.unwrap_or_default();
        let timetable = schedule.map(|value| timetable(name, value, zone)).transpose()?.unwrap_or_default();
        if timetable.schedules.contains_key(&Verb::Sync) && settings.ship.len() < 2 {
            return Err(invalid("schedule: sync needs a second destination in ship to copy from".to_owned()));
        }
        if let Some(incremental) = &settings.incremental {
            incremental.check().map_err(|message| invalid(format!("incremental: {message}")))?;
        }
        let compress_by =
            settings.compression.resolve().map_err(|message| invalid(format!("compression: {message}")))?;
        if let Some(differential) = &settings.differential {
            differential.check().map_err(|message| invalid(format!("differential: {message}")))?;
            if matches!(compress_by, CompressBy::Tool { .. }) {
                let message =
                    "differential needs dumps that pg_dump does not compress: remove by = \"pg_dump\" from compression";
                return Err(invalid(message.to_owned()));
            }
        }
        Ok(Job {
            name: name.to_owned(),
            site: JobContext {
                cluster: Cluster {
                    name: settings.cluster,
                    connection: cluster.connection.clone(),
                    password: None,
                    bin_dir: cluster.bin_dir.clone(),
                },
                compress_by,
                scratch_dir: settings.scratch_dir,
            },
            pause_replay: cluster.pause_replay,
            dump,
            verify,
            encrypt,
            retention: self.retention(settings.retention, &settings.ship).map_err(&invalid)?,
            ship: settings.ship,
            recovery_window: None,
            incremental: settings.incremental,
            differential: settings.differential,
            parallel,
            max_age: settings.max_age,
            schedule: timetable.schedules.get(&Verb::Run).cloned(),
            timetable,
            hooks,
            drill: drill.map(|drill| drill::drill_settings(name, drill, registry)).transpose()?.unwrap_or_default(),
        })
    }

    /// Resolves the retention policy at each of a job's destinations.
    fn retention(
        &self,
        written: Option<written::Retention>,
        ship: &[String],
    ) -> Result<BTreeMap<String, Policy>, String> {
        let policy = |name: &String| look_up(self.policies, name, "retention").cloned();
        match written {
            None => Ok(BTreeMap::new()),
            Some(written::Retention::Everywhere(name)) => {
                let policy = policy(&name)?;
                Ok(ship.iter().map(|destination| (destination.clone(), policy.clone())).collect())
            }
            Some(written::Retention::Each(each)) => each
                .iter()
                .map(|(destination, name)| {
                    if !ship.contains(destination) {
                        return Err(format!("retention names {}, but ship does not", quote_unless_secret(destination)));
                    }
                    Ok((destination.clone(), policy(name)?))
                })
                .collect(),
        }
    }
}
