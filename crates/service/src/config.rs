//! The configuration: one TOML file. Parsing reads no other file and no network; building stages
//! from the configuration may read both.

mod adopt;
mod drill;
mod error;
mod identity;
mod written;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use longshore_core::meter::Digest;
use longshore_core::plugin::{Cluster, MinimumRetention, Site, StoreContext};
use longshore_core::stage::{Dump, Encrypt, Store, Verify};
#[cfg(test)]
use longshore_core::store::STALL_TIMEOUT;
use longshore_core::store::with_settings;
use longshore_core::terms::MaxAge;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_retention::Policy;
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

pub use self::adopt::Adoption;
pub use self::drill::{DrillSettings, Expectation, Query};
pub(crate) use self::error::{ConfigError, quote_unless_secret};
pub use self::identity::{IdentityCommand, IdentitySource};
use crate::registry::{Builder, Registry};
use crate::schedule::Schedule;
use crate::suggestion;

/// The maximum number of parallel dumps. More are not faster: each takes a connection of the server
/// and processes of this host.
const MAX_PARALLEL: usize = 64;

/// The maximum length of a name. A longer name would not fit into a key or a file name.
const MAX_NAME_BYTES: usize = 100;

/// A parsed configuration: every reference is resolved, and every setting is known.
#[derive(Default)]
pub struct Config {
    /// The path of the file.
    pub path: PathBuf,
    /// The folder for locks, if not the default.
    pub lock_dir: Option<PathBuf>,
    /// The folder for state, if not the default.
    pub state_dir: Option<PathBuf>,
    /// The identities that decrypt backups, unless the command line names some.
    pub identity: IdentitySource,
    /// Destinations by name.
    pub destinations: BTreeMap<String, Destination>,
    /// Retention policies by name.
    pub policies: BTreeMap<String, Policy>,
    /// Rules for adopting files of other programs as backups, by name.
    pub adoptions: BTreeMap<String, Adoption>,
    /// Jobs by name.
    pub jobs: BTreeMap<String, Job>,
}

/// A destination of the configuration.
#[derive(Clone)]
pub struct Destination {
    store: Builder<dyn Store>,
    stall_timeout: Duration,
    /// The maximum number of parallel uploads to the destination, if limited.
    pub parallel: Option<usize>,
    /// The minimum age before an interrupted run's leftovers are removed: longer than
    /// any run takes.
    pub orphan_grace: TimeDelta,
}

impl Destination {
    /// Creates a destination for tests that opens this store.
    #[cfg(test)]
    pub(crate) fn of(store: impl Store + Clone + 'static) -> Self {
        let store: Builder<dyn Store> = Arc::new(move |_| Ok(Box::new(store.clone())));
        Self { store, stall_timeout: STALL_TIMEOUT, parallel: None, orphan_grace: TimeDelta::hours(48) }
    }

    /// Opens the store with the limits of the destination's settings.
    pub fn open(&self) -> Result<Arc<dyn Store>> {
        self.open_with(MinimumRetention::Unasked)
    }

    /// Opens the store for uploads under a retention policy. A store with an object lock that
    /// follows the policy locks objects for the time for which the policy keeps every backup.
    pub fn open_for_retention(&self, policy: Option<&Policy>) -> Result<Arc<dyn Store>> {
        let span = policy.and_then(|policy| policy.surely_keeps(Utc::now()));
        self.open_with(span.map_or(MinimumRetention::None, MinimumRetention::For))
    }

    fn open_with(&self, retention: MinimumRetention) -> Result<Arc<dyn Store>> {
        (self.store)(&StoreContext { stall_timeout: self.stall_timeout, retention }).map(Arc::from)
    }
}

/// A job of the configuration.
pub struct Job {
    /// The name of the job.
    pub name: String,
    /// The cluster that the job reads, and the settings for reading it.
    pub site: Site,
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
    /// The maximum number of databases dumped at once.
    pub parallel: usize,
    /// The maximum age of a series' newest backup at each destination.
    pub max_age: Option<MaxAge>,
    /// The schedule by which an external timer runs the job.
    pub schedule: Option<Schedule>,
    /// The settings of the job's drills.
    pub drill: DrillSettings,
}

/// The maximum size of a configuration, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// Reads the file, which may be a pipe.
fn source(path: &Path) -> Result<String> {
    let mut source = String::new();
    let file = std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut source));
    let bytes = file.map_err(|error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        let error = Error::io(Stage::Config, path.display().to_string(), "cannot read the configuration", error);
        let hint = "make one with `longshore init`, or name yours with --config FILE";
        if missing { error.hint(hint) } else { error }
    })?;
    if bytes as u64 > MAX_BYTES {
        let message = format!("is larger than {MAX_BYTES} bytes, the maximum for a configuration");
        return Err(Error::new(Stage::Config, Kind::Usage, path.display().to_string(), message)
            .hint("name yours with --config FILE"));
    }
    Ok(source)
}

impl Config {
    /// Reads the file at `path`.
    pub fn load(path: &Path, registry: &Registry) -> Result<Self> {
        let source = source(path)?;
        Self::parse(path, &source, registry).map_err(|error| error.in_file(path, &source))
    }

    fn parse(path: &Path, source: &str, registry: &Registry) -> Result<Self, ConfigError> {
        let document = DeTable::parse(source)?;
        let whole = document.span();
        let mut top = document.into_inner();
        let mut sections =
            ["cluster", "destination", "retention", "adopt", "job", "identity"].map(|name| top.remove(name));
        let [clusters, destinations, policies, adoptions, jobs, identity] = &mut sections;
        let settings: written::Top = read(Spanned::new(whole.clone(), DeValue::Table(top)))?;

        let identity = match identity.take() {
            None => IdentitySource::default(),
            Some(table) => {
                let span = table.span();
                read::<identity::Written>(table)?.resolve().map_err(|message| ConfigError::at(span, message))?
            }
        };
        let clusters = section(clusters.take(), |_, value| read::<written::Cluster>(value))?;
        let destinations = section(destinations.take(), |name, value| destination(name, value, registry))?;
        let policies = section(policies.take(), |name, value| {
            let span = value.span();
            let policy: Policy = read(value)?;
            policy.check(name).map_err(|error| {
                let remedy = error.remedy().unwrap_or_default();
                ConfigError::refused(span, format!("{error}: {remedy}"))
            })?;
            Ok(policy)
        })?;
        let adoptions =
            section(adoptions.take(), |name, value| adopt::adoption(name, value, &destinations, &policies))?;
        let references = References { clusters, destinations: &destinations, policies: &policies };
        let jobs = section(jobs.take(), |name, value| references.job(name, value, registry))?;
        // A host that only reads what other hosts ship needs no job.
        if jobs.is_empty() && destinations.is_empty() {
            let message = "neither a job nor a destination: add tables [destination.NAME] and [job.NAME]";
            return Err(ConfigError::at(whole, message));
        }
        adopt::check(&adoptions, &jobs, whole)?;
        Ok(Self {
            path: path.to_owned(),
            lock_dir: settings.lock_dir,
            state_dir: settings.state_dir,
            identity,
            destinations,
            policies,
            adoptions,
            jobs,
        })
    }

    /// Returns a digest that separates the state files of this configuration from those of another,
    /// which may have jobs and destinations of the same names.
    pub(crate) fn digest(&self) -> String {
        let path = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        Digest::of(path.as_os_str().as_encoded_bytes()).hex()[..8].to_owned()
    }

    /// Returns the job of this name, or the only job if no name is given.
    pub fn job(&self, name: Option<&str>) -> Result<&Job> {
        let usage_error = |subject: &str, message: &str| {
            let error = Error::new(Stage::Config, Kind::Usage, subject, message);
            match self.jobs.is_empty() {
                true => error.hint(format!("add a table [job.NAME] to {}", self.path.display())),
                false => error.hint(unknown_name_hint(subject, "jobs", self.jobs.keys())),
            }
        };
        match name {
            Some(name) => self.jobs.get(name).ok_or_else(|| usage_error(name, "there is no such job")),
            None if self.jobs.len() > 1 => Err(usage_error("", "there are several jobs: name one")),
            None => self.jobs.values().next().ok_or_else(|| usage_error("", "there is no job")),
        }
    }

    /// Returns the retention policy of this name.
    pub fn policy(&self, name: &str) -> Result<&Policy> {
        self.policies.get(name).ok_or_else(|| {
            Error::new(Stage::Config, Kind::Usage, name, "there is no such retention policy").hint(unknown_name_hint(
                name,
                "policies",
                self.policies.keys(),
            ))
        })
    }

    /// Returns the destination of this name.
    pub fn destination(&self, name: &str) -> Result<&Destination> {
        self.destinations.get(name).ok_or_else(|| {
            Error::new(Stage::Config, Kind::Usage, name, "there is no such destination").hint(unknown_name_hint(
                name,
                "destinations",
                self.destinations.keys(),
            ))
        })
    }
}

/// Reads a destination: the common settings, and the settings of its plugin.
fn destination(name: &str, value: Spanned<DeValue<'_>>, registry: &Registry) -> Result<Destination, ConfigError> {
    let span = value.span();
    let DeValue::Table(mut table) = value.into_inner() else {
        return Err(ConfigError::at(span, format!("destination \"{name}\" must be a table")));
    };
    let common = written::Destination::SETTINGS.iter().filter_map(|setting| table.remove_entry(*setting)).collect();
    let settings: written::Destination = read(Spanned::new(span.clone(), DeValue::Table(common)))?;
    let parallel = settings.parallel.filter(|parallel| (1..=MAX_PARALLEL).contains(parallel));
    if parallel != settings.parallel {
        return Err(ConfigError::at(
            span,
            format!("destination \"{name}\": parallel must be from 1 to {MAX_PARALLEL}"),
        ));
    }
    let (limits, orphan_grace) = (settings.store_settings(), settings.orphan_grace());
    let stall_timeout = limits.stall_timeout;
    let plugin = registry.store.read(Spanned::new(span, DeValue::Table(table)))?;
    let name = name.to_owned();
    let store: Builder<dyn Store> = Arc::new(move |context| {
        let store: Arc<dyn Store> = Arc::from(plugin(context)?);
        if store.limits().spools && limits.max_rate.is_some() {
            let message = "max_rate would limit writes to the spool, not the upload";
            let error = Error::new(Stage::Config, Kind::Usage, &name, message);
            return Err(error.hint("limit the upload program instead, such as with bwlimit of rsync"));
        }
        Ok(with_settings(&name, store, &limits))
    });
    Ok(Destination { store, stall_timeout, parallel, orphan_grace })
}

/// The tables that jobs may refer to.
struct References<'a> {
    clusters: BTreeMap<String, written::Cluster>,
    destinations: &'a BTreeMap<String, Destination>,
    policies: &'a BTreeMap<String, Policy>,
}

impl References<'_> {
    fn job(&self, name: &str, value: Spanned<DeValue<'_>>, registry: &Registry) -> Result<Job, ConfigError> {
        let span = value.span();
        let invalid = |message: String| ConfigError::at(span.clone(), format!("job \"{name}\": {message}"));
        let DeValue::Table(mut table) = value.into_inner() else {
            return Err(invalid("must be a table".to_owned()));
        };
        let [dump, verify, encrypt, drill] = ["dump", "verify", "encrypt", "drill"].map(|stage| table.remove(stage));
        let settings: written::Job = read(Spanned::new(span.clone(), DeValue::Table(table)))?;

        let dump = dump.map(|dump| list_of(dump, |value| registry.dump.read(value))).transpose()?.unwrap_or_default();
        if dump.is_empty() {
            return Err(invalid("dumps nothing: add dump = [{ type = \"pg_dump\" }]".to_owned()));
        }
        let verify = verify.map(|verify| list_of(verify, |value| registry.verify.read(value))).transpose()?;
        let encrypt = match encrypt {
            None => {
                let message = "has no encrypt: add encrypt = { type = \"age\", recipients = [\"age1…\"] }, or encrypt = { type = \"none\" } to store backups unencrypted";
                return Err(invalid(message.to_owned()));
            }
            Some(encrypt) if is_none(&encrypt) => None,
            Some(encrypt) => Some(registry.encrypt.read(encrypt)?),
        };
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
        if settings.timezone.is_some() && settings.schedule.is_none() {
            return Err(invalid("timezone needs a schedule".to_owned()));
        }
        let zone = settings.timezone.unwrap_or_default();
        Ok(Job {
            name: name.to_owned(),
            site: Site {
                cluster: Cluster {
                    name: settings.cluster,
                    connection: cluster.connection.clone(),
                    password: None,
                    bin_dir: cluster.bin_dir.clone(),
                },
                packing: settings
                    .compression
                    .resolve()
                    .map_err(|message| invalid(format!("compression: {message}")))?,
                scratch_dir: settings.scratch_dir,
            },
            pause_replay: cluster.pause_replay,
            dump,
            verify,
            encrypt,
            retention: self.retention(settings.retention, &settings.ship).map_err(&invalid)?,
            ship: settings.ship,
            parallel,
            max_age: settings.max_age,
            schedule: settings.schedule.map(|expression| Schedule::new(expression, zone)),
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

/// Returns the hint for an unknown name: the nearest known name, and all of them.
fn unknown_name_hint<'a>(written: &str, what: &str, names: impl Iterator<Item = &'a String> + Clone) -> String {
    let all = format!("the {what} are {}", list(names.clone()));
    suggestion::hint(written, names.map(String::as_str), &all)
}

/// Looks up a reference. The error lists the known names.
fn look_up<'a, T>(all: &'a BTreeMap<String, T>, name: &str, what: &str) -> Result<&'a T, String> {
    all.get(name).ok_or_else(|| match all.is_empty() {
        true if is_valid_name(name) => {
            format!("there is no {what} {}: add a table [{what}.{name}]", quote_unless_secret(name))
        }
        true => format!("there is no {what} {}: add a table [{what}.NAME]", quote_unless_secret(name)),
        false => match suggestion::nearest(name, all.keys().map(String::as_str)) {
            Some(near) => format!("there is no {what} {}; did you mean \"{near}\"?", quote_unless_secret(name)),
            None => format!("there is no {what} {}; known: {}", quote_unless_secret(name), list(all.keys())),
        },
    })
}

fn list<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

/// Returns true if a table contains `type = "none"` and nothing else.
fn is_none(value: &Spanned<DeValue<'_>>) -> bool {
    let DeValue::Table(table) = value.get_ref() else {
        return false;
    };
    table.len() == 1 && table.get("type").and_then(|name| name.get_ref().as_str()) == Some("none")
}

fn read<'de, T: Deserialize<'de>>(value: Spanned<DeValue<'de>>) -> Result<T, ConfigError> {
    Ok(T::deserialize(ValueDeserializer::from(value))?)
}

/// Reads the named tables of a section.
fn section<'i, T>(
    value: Option<Spanned<DeValue<'i>>>,
    read: impl Fn(&str, Spanned<DeValue<'i>>) -> Result<T, ConfigError>,
) -> Result<BTreeMap<String, T>, ConfigError> {
    let Some(value) = value else {
        return Ok(BTreeMap::new());
    };
    let span = value.span();
    let DeValue::Table(table) = value.into_inner() else {
        return Err(ConfigError::at(span, "must be a table of named tables, such as [cluster.main]"));
    };
    let entry = |(name, value): (Spanned<std::borrow::Cow<'i, str>>, Spanned<DeValue<'i>>)| {
        if !is_valid_name(name.get_ref()) {
            let message =
                format!("a name has at most {MAX_NAME_BYTES} of A-Z a-z 0-9 . _ - and begins with a letter or digit");
            return Err(ConfigError::at(name.span(), message));
        }
        Ok((name.get_ref().to_string(), read(name.get_ref(), value)?))
    };
    table.into_iter().map(entry).collect()
}

/// Returns true if a name needs no escaping in file names and on command lines.
fn is_valid_name(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// Reads the members of a list.
fn list_of<'i, T>(
    value: Spanned<DeValue<'i>>,
    read: impl Fn(Spanned<DeValue<'i>>) -> Result<T, ConfigError>,
) -> Result<Vec<T>, ConfigError> {
    let span = value.span();
    match value.into_inner() {
        DeValue::Array(array) => array.into_iter().map(read).collect(),
        _ => Err(ConfigError::at(span, "must be a list of tables, such as [{ type = \"…\" }]")),
    }
}
