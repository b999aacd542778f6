//! What each verb does.

mod check;
mod init;
mod list;
mod manual;
mod prune;
mod restore;
mod run;
mod verify;

use std::path::PathBuf;
use std::sync::Arc;

use longshore_core::Result;
use longshore_core::plugin::{Identities, Passphrase};
use longshore_service::config::Config;
use longshore_service::registry::Registry;
use secrecy::SecretString;

use crate::args::{Args, Identity, Password, Verb};
use crate::ask::{self, Person};
use crate::exit_code::Exit;
use crate::output::Output;
use crate::plugins;

/// What every verb but a few needs.
struct Bridge {
    config: Config,
    registry: Registry,
    output: Output,
}

/// Does what the command line says.
pub(crate) async fn execute(args: Args, output: &Output) -> Exit {
    let path = args.config.unwrap_or_else(usual_config);
    let bridge = |password: Option<&Password>| Bridge::new(&path, *output, password);
    let done = match args.verb {
        Verb::Init(init) => init::init(&path, init, *output).await,
        Verb::Check(check) => async { check::check(&bridge(Some(&check.password))?, &check).await }.await,
        Verb::Run(run) => async { run::run(&bridge(Some(&run.password))?, &run).await }.await,
        Verb::List(list) => async { list::list(&bridge(None)?, &list).await }.await,
        Verb::Verify(verify) => async { verify::verify(&bridge(None)?, &verify).await }.await,
        Verb::Restore(restore) => async { restore::restore(&bridge(None)?, restore).await }.await,
        Verb::Prune(prune) => async { prune::prune(&bridge(None)?, &prune).await }.await,
        Verb::Completions { shell } => manual::completions(shell, *output),
        Verb::Man { folder } => manual::man(&folder, *output),
    };
    done.unwrap_or_else(|error| output.error(&error))
}

impl Bridge {
    fn new(path: &std::path::Path, output: Output, password: Option<&Password>) -> Result<Self> {
        let registry = plugins::registry();
        let mut config = Config::load(path, &registry)?;
        if let Some(password) = asked(password)? {
            for job in config.jobs.values_mut() {
                job.site.cluster.password = Some(password.clone());
            }
        }
        Ok(Self { config, registry, output })
    }
}

/// The password of the server, if it is to be asked for.
fn asked(password: Option<&Password>) -> Result<Option<SecretString>> {
    password.filter(|password| password.ask_password).map(|_| ask::password()).transpose()
}

/// What opens backups, and the person who knows its passphrase.
fn identities(identity: &Identity) -> Identities {
    let passphrase = if identity.ask_passphrase { Passphrase::AskFor } else { Passphrase::Unused };
    Identities { files: identity.files.clone(), passphrase, ask: Arc::new(Person) }
}

/// Where the configuration is unless one is named.
fn usual_config() -> PathBuf {
    let folder = if rustix::process::geteuid().is_root() {
        PathBuf::from("/etc")
    } else if let Some(config) = std::env::var_os("XDG_CONFIG_HOME") {
        PathBuf::from(config)
    } else {
        PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".config")
    };
    folder.join("longshore/config.toml")
}
