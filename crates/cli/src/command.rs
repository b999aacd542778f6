//! The verbs, one module each, and the short names of backups.

mod adopt;
mod check;
mod config;
mod drill;
mod hold;
mod init;
mod inspect;
mod list;
mod man;
mod notify;
mod plugin;
mod prune;
mod rekey;
mod remove;
mod restore;
mod retention;
mod run;
mod schedule;
mod serve;
mod short_name;
pub(crate) mod status;
mod sync;
mod trust;
mod verify;
mod wal;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use longshore_config::registry::Registry;
use longshore_config::{Config, Job};
use longshore_core::event::Observer;
use longshore_core::plugin::{Identities, Passphrase};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_serve::progress::EventWriter;
use secrecy::SecretString;

pub(crate) use self::short_name::ShortName;
use crate::args::{Args, Identity, Password, Verb};
use crate::exit_code::Exit;
use crate::output::Output;
use crate::plugins;
use crate::progress::RestoreStates;
use crate::prompt::{self, TerminalPrompt};
use crate::recorder::Recorder;
use crate::signals::OrderlyStop;

/// The context of a verb.
struct Context {
    config: Arc<Config>,
    registry: Registry,
    output: Output,
    recorder: Recorder,
    restore_states: RestoreStates,
    /// The descriptor for events as lines of JSON.
    events: Option<u32>,
}

/// Executes the verb of the command line.
pub(crate) async fn execute(
    args: Args,
    output: &Output,
    recorder: &Recorder,
    restore_states: &RestoreStates,
    stop: &OrderlyStop,
) -> Exit {
    let path = args.config.unwrap_or_else(default_config_path);
    let is_default =
        path == default_config_path() || std::env::var_os("LONGSHORE_CONFIG").is_some_and(|named| path == named);
    if !is_default && !matches!(args.verb, Verb::Init(_)) {
        output.name_config(&path);
    }
    let (reported, events) = (args.verb.reported(), args.events);
    let context = || {
        let context = Context { events, ..Context::new(&path, *output, recorder.clone(), restore_states.clone())? };
        // From here on, every outcome of an acting verb is reported.
        reported.iter().for_each(|reported| recorder.begin(&context.config, reported));
        Ok(context)
    };
    let with_prompt = |password: &Password, job: Option<&str>| context()?.with_password(password, job);
    let done = match args.verb {
        Verb::Init(init) => init::init(&path, is_default, init, *output).await,
        Verb::Check(check) => {
            async { check::check(&with_prompt(&check.password, check.job.as_deref())?, &check).await }.await
        }
        Verb::Config(what) => config::config(&path, &what, *output),
        Verb::Run(run) => async { run::run(&with_prompt(&run.password, run.job.as_deref())?, &run).await }.await,
        Verb::List(list) => async { list::list(&context()?, &list).await }.await,
        Verb::Status(status) => status::status(context, &status, *output).await,
        Verb::Verify(verify) => async { verify::verify(&context()?, &verify).await }.await,
        Verb::Inspect(inspect) => async { inspect::inspect(&context, &inspect, *output).await }.await,
        Verb::Restore(restore) => async { restore::restore(&context()?, *restore).await }.await,
        Verb::Drill(drill) => async { drill::drill(&context()?, &drill).await }.await,
        Verb::Prune(prune) => async { prune::prune(&context()?, &prune).await }.await,
        Verb::Remove(remove) => async { remove::remove(&context()?, &remove).await }.await,
        Verb::Adopt(what) => async { adopt::adopt(&context()?, &what).await }.await,
        Verb::Retention(what) => async { retention::retention(&context()?, &what) }.await,
        Verb::Hold(hold) => async { hold::hold(&context()?, &hold).await }.await,
        Verb::Unhold(unhold) => async { hold::unhold(&context()?, &unhold).await }.await,
        Verb::Mark(mark) => async { hold::mark(&context()?, &mark).await }.await,
        Verb::Sync(sync) => async { sync::sync(&context()?, &sync).await }.await,
        Verb::Rekey(rekey) => async { rekey::rekey(&context()?, &rekey).await }.await,
        Verb::Trust(what) => async { trust::trust(&context()?, &what).await }.await,
        Verb::Schedule(schedule) => async { schedule::schedule(&context()?, &schedule, stop).await }.await,
        Verb::Wal(wal) => async { wal::wal(&context()?, &wal, stop).await }.await,
        Verb::Notify(notify) => async { notify::notify(&context()?, &notify).await }.await,
        Verb::Plugin(what) => plugin::plugin(what, &path, *output).await,
        Verb::Serve(serve) => serve::serve(&path, &serve, *output, stop).await,
        Verb::Completions { shell } => man::completions(shell, *output),
        Verb::Man { folder } => man::man(&folder, *output),
    };
    done.unwrap_or_else(|error| {
        recorder.record_error(&error);
        output.error(&error)
    })
}

impl Context {
    fn new(path: &std::path::Path, output: Output, recorder: Recorder, restore_states: RestoreStates) -> Result<Self> {
        let registry = plugins::registry();
        let config = Arc::new(Config::load(path, &registry)?);
        output.suggest_identity(longshore_engine::identity::default_file(&config));
        Ok(Self { config, registry, output, recorder, restore_states, events: None })
    }

    /// Returns an observer that also writes the events to the inherited descriptor, if any.
    fn observed(&self, observer: Arc<dyn Observer>) -> Result<Arc<dyn Observer>> {
        let writer = self.event_writer(Arc::clone(&observer))?;
        Ok(writer.map_or(observer, |writer| Arc::new(writer) as Arc<dyn Observer>))
    }

    /// Opens the inherited descriptor for events, if there is one.
    fn event_writer(&self, observer: Arc<dyn Observer>) -> Result<Option<EventWriter>> {
        let Some(descriptor) = self.events else { return Ok(None) };
        let writer = EventWriter::open(descriptor, observer).map_err(|error| {
            Error::io(Stage::Config, format!("--events {descriptor}"), "cannot open the descriptor", error)
        })?;
        Ok(Some(writer))
    }

    /// Prompts for the password of the server of the job, or of all jobs, if requested.
    fn with_password(mut self, password: &Password, job: Option<&str>) -> Result<Self> {
        if !password.ask_password {
            return Ok(self);
        }
        let jobs: Vec<&Job> = match job {
            Some(_) => vec![self.config.job(job)?],
            None => self.config.jobs.values().collect(),
        };
        let cluster = jobs.first().map(|job| job.site.cluster.name.clone()).unwrap_or_default();
        if jobs.iter().any(|job| job.site.cluster.name != cluster) {
            // Never send the password of one server to another.
            let message = "the jobs use several clusters, but a password is for one cluster";
            let names = jobs.iter().map(|job| format!("\"{}\"", job.name)).collect::<Vec<_>>().join(", ");
            return Err(Error::new(Stage::Config, Kind::Usage, "--ask-password", message)
                .hint(format!("name a job: the jobs are {names}")));
        }
        let answer = prompt::password()?;
        for job in Arc::make_mut(&mut self.config).jobs.values_mut().filter(|job| job.site.cluster.name == cluster) {
            job.site.cluster.password = Some(answer.clone());
        }
        Ok(self)
    }
}

/// Prompts for the password of the server, if requested.
fn prompt_password(password: Option<&Password>) -> Result<Option<SecretString>> {
    password.filter(|password| password.ask_password).map(|_| prompt::password()).transpose()
}

/// Returns the identities of the command line, else of the configuration.
async fn identities(identity: &Identity, config: &Config) -> Result<Identities> {
    expect_readable(identity)?;
    longshore_engine::identity::identities(&given_identities(identity), config).await
}

/// Fails if an identity file cannot be read: one error instead of one per backup.
fn expect_readable(identity: &Identity) -> Result<()> {
    for file in &identity.files {
        // Do not open the file: a pipe can be read only once.
        rustix::fs::access(longshore_core::credential::file(file)?, rustix::fs::Access::READ_OK).map_err(|error| {
            Error::io(Stage::Decrypt, file.display().to_string(), "cannot read the identity file", error.into())
                .hint("pass --identity a file written by age-keygen that this user can read")
        })?;
    }
    Ok(())
}

/// Returns the identities of the command line, with a prompt for their passphrases.
fn given_identities(identity: &Identity) -> Identities {
    let passphrase = if identity.ask_passphrase { Passphrase::AskFor } else { Passphrase::Unused };
    Identities { files: identity.files.clone(), passphrase, ..no_identities() }
}

/// Returns no identities, and no prompt for any.
pub(crate) fn no_identities() -> Identities {
    Identities {
        files: Vec::new(),
        texts: Vec::new(),
        passphrase: Passphrase::Unused,
        ask: Arc::new(TerminalPrompt),
        programs: BTreeMap::new(),
    }
}

/// Returns the default path of the configuration.
pub(crate) fn default_config_path() -> PathBuf {
    let folder = if rustix::process::geteuid().is_root() {
        PathBuf::from("/etc")
    } else if let Some(config) = std::env::var_os("XDG_CONFIG_HOME") {
        PathBuf::from(config)
    } else {
        PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".config")
    };
    folder.join("longshore/config.toml")
}
