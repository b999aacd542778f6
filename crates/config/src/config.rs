//! The configuration: one TOML file. Parsing reads no other file and no network; building stages
//! from the configuration may read both.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use longshore_core::meter::Digest;
use longshore_core::stage::Decrypt;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_retention::{Policy, RecoveryWindow};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::adopt::{self, Adoption};
use crate::decryption;
use crate::destination::{Destination, destination};
use crate::error::ConfigError;
use crate::identity::{self, IdentitySource};
use crate::job::{Job, References};
use crate::notify::{self, NoticeChannel};
use crate::registry::{Builder, Registry};
use crate::serve::{self, ServeSettings};
use crate::table::{read, section, unknown_name_hint};
use crate::trust::TrustSettings;
use crate::wal::{self, WalArchive};
use crate::written;

/// A parsed configuration: every reference is resolved, and every setting is known.
#[derive(Clone, Default)]
pub struct Config {
    /// The path of the file.
    pub path: PathBuf,
    /// The folder for locks, if not the default.
    pub lock_dir: Option<PathBuf>,
    /// The folder for state, if not the default.
    pub state_dir: Option<PathBuf>,
    /// The file that receives metrics after each run, if any.
    pub metrics_file: Option<PathBuf>,
    /// The folder of programs of the operator that are named without a slash.
    pub plugin_dir: Option<PathBuf>,
    /// The identities that decrypt backups, unless the command line names some.
    pub identity: IdentitySource,
    /// The programs that decrypt the files of other encryptions, by the name of the encryption.
    pub decrypt: BTreeMap<String, Builder<dyn Decrypt>>,
    /// The signatures that this host makes and verifies.
    pub trust: TrustSettings,
    /// Destinations by name.
    pub destinations: BTreeMap<String, Destination>,
    /// Retention policies by name.
    pub policies: BTreeMap<String, Policy>,
    /// Rules for adopting files of other programs as backups, by name.
    pub adoptions: BTreeMap<String, Adoption>,
    /// Jobs by name.
    pub jobs: BTreeMap<String, Job>,
    /// The channels of notices by name.
    pub notify: BTreeMap<String, NoticeChannel>,
    /// The archives of WAL by the name of their cluster.
    pub wal: BTreeMap<String, WalArchive>,
    /// The settings of the service.
    pub serve: ServeSettings,
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
            ["cluster", "destination", "retention", "adopt", "job", "identity", "decrypt", "notify", "serve"]
                .map(|name| top.remove(name));
        let [clusters, destinations, policies, adoptions, jobs, identity, decrypt, notify, service] = &mut sections;
        let settings: written::Top = read(Spanned::new(whole.clone(), DeValue::Table(top)))?;
        let plugin_dir = settings.plugin_dir.as_deref();
        if plugin_dir.is_some_and(Path::is_relative) {
            return Err(ConfigError::at(whole, "plugin_dir must be an absolute path"));
        }
        let decrypt = section(decrypt.take(), |name, value| decryption::program(name, value, registry, plugin_dir))?;

        let identity = match identity.take() {
            None => IdentitySource::default(),
            Some(table) => {
                let span = table.span();
                read::<identity::Written>(table)?.resolve().map_err(|message| ConfigError::at(span, message))?
            }
        };
        let (mut serve, received) = service.take().map(serve::settings).transpose()?.unwrap_or_default();
        let notify = section(notify.take(), notify::channel)?;
        let archives = RefCell::new(Vec::new());
        let clusters = section(clusters.take(), |name, mut value| {
            archives.borrow_mut().extend(wal::take(&mut value).map(|archive| (name.to_owned(), archive)));
            read::<written::Cluster>(value)
        })?;
        let trust = TrustSettings::resolve(settings.signing, settings.trust);
        let destinations = section(destinations.take(), |name, value| {
            destination(name, value, (registry, plugin_dir)).map(|destination| destination.with_trust(&trust))
        })?;
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
        let references = References { clusters, destinations: &destinations, policies: &policies, plugin_dir };
        let mut jobs = section(jobs.take(), |name, value| references.job(name, value, registry))?;
        let archives = archives.into_inner().into_iter().map(|(cluster, value)| {
            let archive = wal::archive(&cluster, value, &destinations, (registry, plugin_dir))?;
            Ok((cluster, archive))
        });
        let wal: BTreeMap<String, WalArchive> = archives.collect::<Result<_, ConfigError>>()?;
        serve.wal_receive =
            received.map(|written| serve::received_clusters(written, &wal)).transpose()?.unwrap_or_default();
        for job in jobs.values_mut() {
            job.recovery_window = match wal.get(&job.site.cluster.name).map(|archive| archive.window) {
                Some(RecoveryWindow::Span(span)) => Some(span),
                _ => None,
            };
        }
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
            metrics_file: settings.metrics_file,
            plugin_dir: settings.plugin_dir,
            identity,
            decrypt,
            trust,
            destinations,
            policies,
            adoptions,
            jobs,
            serve,
            notify,
            wal,
        })
    }

    /// Returns the configuration for an action on records without a permitted signature.
    #[must_use]
    pub fn accepting_unsigned(mut self) -> Self {
        self.trust.required = false;
        let trust = self.trust.clone();
        self.destinations = self.destinations.into_iter().map(|(name, at)| (name, at.with_trust(&trust))).collect();
        self
    }

    /// Returns a digest that separates the state files of this configuration from those of another,
    /// which may have jobs and destinations of the same names.
    pub fn digest(&self) -> String {
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

    /// Returns the WAL archive of this cluster, or the only archive if no name is given.
    pub fn wal_archive(&self, cluster: Option<&str>) -> Result<&WalArchive> {
        let usage = |subject: &str, message: &str| {
            let hint = match self.wal.is_empty() {
                true => format!("add a table [cluster.NAME.wal] to {}", self.path.display()),
                false => unknown_name_hint(subject, "clusters with an archive", self.wal.keys()),
            };
            Error::new(Stage::Config, Kind::Usage, subject, message).hint(hint)
        };
        match cluster {
            Some(name) => self.wal.get(name).ok_or_else(|| usage(name, "the cluster has no WAL archive")),
            None if self.wal.len() > 1 => Err(usage("", "there are several WAL archives: pass --cluster NAME")),
            None => self.wal.values().next().ok_or_else(|| usage("", "there is no WAL archive")),
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
