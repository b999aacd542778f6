//! `longshore restore`: restore backups.

mod recovery;
mod report;
mod snapshot;
mod standby;
mod target;

use longshore_core::error::printable;
use longshore_core::key::Timestamp;
use longshore_core::plugin::{DataDirectory, DatabaseTarget, Recovery, Target};
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_engine::catalogs::parse_time;
use longshore_engine::encryption_policy::{EncryptionPolicy, Unsealed};
use longshore_engine::restore::{Choice, Chosen, Compare, Globals, Restorer, Selector, choose, contents, save};
use longshore_engine::run_report::CommandResult;
use secrecy::ExposeSecret;

pub(super) use self::recovery::LATEST;
use self::recovery::Requested;
use self::standby::standby;
use self::target::{is_of_database, source, target};
use crate::args::Restore;
use crate::command::short_name::full_name;
use crate::command::{Context, identities};
use crate::exit_code::Exit;
use crate::plugins::{database_of, names_server, without_password};
use crate::progress::restore_progress;
use crate::prompt::confirm_typed;

pub(super) async fn restore(context: &Context, mut args: Restore) -> Result<Exit> {
    let Context { config, registry, output, recorder, restore_states, .. } = context;
    if args.jobs > 1 && args.scratch_dir.is_none() {
        let message = "parallel connections need the archive in a file, not a stream";
        return Err(Error::new(Stage::Config, Kind::Usage, "--jobs", message)
            .hint("pass a directory for the plaintext, preferably in memory: --scratch-dir /dev/shm"));
    }
    if args.output.as_deref() == Some(std::path::Path::new("-")) {
        let message = "stdout is not supported; the output must be a new file";
        return Err(Error::new(Stage::Config, Kind::Usage, "--output", message)
            .hint("pass a file name, or ./- for a file named -"));
    }
    if let Some(name) = &args.from_snapshot {
        return snapshot::restore(context, &args, name).await;
    }
    let identities = identities(&args.identity, config).await?;
    let unsealed = if args.allow_unsealed { Unsealed::Allowed } else { Unsealed::Refused };
    let policy = EncryptionPolicy::new(config, &identities, unsealed);
    if args.run.is_none()
        && let Some(words) = &args.subject
    {
        args.subject = Some(full_name(config, words, args.from.as_deref()).await?);
        // Only base backups are unpacked into a data directory.
        args.base |= args.to_dir.is_some();
    }
    if args.base {
        let is_file = |words: &str| words.strip_prefix("base-").is_some_and(|time| Timestamp::parse(time).is_some());
        let is_cluster = |words: &str| !words.contains('/') && !is_file(words);
        let base = |words: String| if is_cluster(&words) { format!("{words}/{}", Subject::Base) } else { words };
        args.subject = args.subject.map(base);
    }
    let requested = Requested::of(&args, config)?;
    let chosen = match &requested {
        Some(requested) => requested.choose(&args, context, &identities, &policy).await?,
        None => choose(config, &selector(&args)?, args.from.as_deref(), &policy).await?,
    };
    let Choice { backups: mut chosen, missing, warnings } = chosen;
    for warning in warnings.iter().chain(&missing) {
        output.warning(warning);
    }
    if args.run.is_some() {
        let others = target::take_unfitting(&args, &mut chosen);
        for (name, option) in others {
            output.note(format_args!("{name} is not restored: it needs {option}"));
        }
    }
    if args.create && !chosen.iter().any(is_of_database) {
        let message = "the backup is not of a database";
        return Err(Error::new(Stage::Config, Kind::Usage, "--create", message).hint("omit --create"));
    }
    let target = match (target(&args, context, &chosen)?, chosen.first()) {
        (Target::DataDirectory(directory), Some(chosen)) if args.standby => {
            standby(&args, context, &chosen.backup.manifest, &directory)?
        }
        // Its WAL is staged after the check of the target.
        (Target::DataDirectory(directory), _) if requested.is_some() => {
            Target::DataDirectory(DataDirectory { recovery: Some(Recovery::default()), ..directory })
        }
        (target, _) => target,
    };
    if args.list {
        for chosen in &chosen {
            for line in contents(registry, chosen, &target, &identities).await? {
                output.line(line);
            }
        }
        return Ok(Exit::Done);
    }
    if let Some(path) = &args.output {
        for chosen in &chosen {
            output.note(format_args!("{} from \"{}\"", chosen.backup.name, chosen.destination));
            save(registry, chosen, path, &identities).await?;
        }
        output.line(format_args!("wrote {}", path.display()));
        return Ok(Exit::Done);
    }
    if let Target::Database(database) = &target
        && !args.plan
    {
        confirm(&args, &chosen, database)?;
    }
    let restorer = Restorer {
        registry,
        target: &target,
        identities: &identities,
        parallel: args.parallel as usize,
        compare: if args.no_compare { Compare::Nothing } else { Compare::Recorded },
        observer: restore_progress(*output, &chosen, restore_states),
    };
    let target_note = source_connection_note(&args, context, &chosen)?;
    if args.plan {
        if let (Some(requested), Target::DataDirectory(directory)) = (&requested, &target) {
            // Only the WAL itself shows whether it reaches the target.
            requested.stage(context, &identities, &chosen, &restorer, directory).await?;
        }
        let findings = restorer.plan(&chosen).await.map_err(|error| with_target_note(error, target_note.as_deref()))?;
        return Ok(report::plan(*output, &findings, args.json.json));
    }
    if let Some(target_note) = &target_note {
        output.note(target_note);
    }
    if requested.is_none() && args.base && args.at.is_some() {
        output
            .warning("the cluster has no table [cluster.NAME.wal]: the state will be that of the backup, not of --at");
    }
    let staged = match (&requested, &target) {
        (Some(requested), Target::DataDirectory(directory)) => {
            Some(requested.stage(context, &identities, &chosen, &restorer, directory).await?)
        }
        _ => None,
    };
    let restorer = match &staged {
        Some((_, target)) => Restorer { target, ..restorer },
        None => restorer,
    };
    let restored = restorer.restore(&chosen).await.map_err(|error| with_target_note(error, target_note.as_deref()))?;
    recorder.record(CommandResult::restored(&chosen, &restored));
    let cluster = chosen.first().map_or("", |chosen| chosen.backup.manifest.cluster.name.as_str());
    if requested.is_none() && !args.standby && args.to_dir.is_some() && config.wal.contains_key(cluster) {
        output.note(
            "the copy continues the timeline of its source, and must never archive; for a cluster that replaces the \
             source, restore with --at latest",
        );
    }
    let exit = report::restored(*output, &chosen, &restored, args.json.json);
    Ok(if exit == Exit::Done && missing.is_some() { Exit::Partial } else { exit })
}

/// Returns a note with the connection of the source cluster, if `--to` names no server.
fn source_connection_note(args: &Restore, context: &Context, chosen: &[Chosen]) -> Result<Option<String>> {
    let to = args.to.as_deref().unwrap_or_default();
    if args.to_dir.is_some() || args.program || names_server(to)? {
        return Ok(None);
    }
    let Some(cluster) = source(context, chosen) else { return Ok(None) };
    Ok(Some(format!(
        "--to names no server, so the default of libpq is used; the source cluster \"{}\" is --to \"{}\"",
        cluster.name,
        without_password(&cluster.connection)?
    )))
}

/// Extends the hint of an error about a target that may be the wrong server.
fn with_target_note(error: Error, target_note: Option<&str>) -> Error {
    match target_note {
        Some(target_note) if matches!(error.kind(), Kind::Unavailable | Kind::Denied | Kind::NotFound) => {
            let hint =
                error.remedy().map_or_else(|| target_note.to_owned(), |remedy| format!("{remedy}; {target_note}"));
            error.hint(hint)
        }
        _ => error,
    }
}

/// Prompts for the name of each database that `--clean` may drop, unless `--yes` is set.
fn confirm(args: &Restore, chosen: &[Chosen], target: &DatabaseTarget) -> Result<()> {
    if !args.clean || args.yes {
        return Ok(());
    }
    let named = database_of(target.cluster.connection.expose_secret())?;
    for chosen in chosen {
        let Subject::Database { name } = &chosen.backup.manifest.subject else { continue };
        let database = named.as_deref().unwrap_or(name);
        let shown = printable(database);
        if !confirm_typed(&format!("type the name of the database to drop, \"{shown}\""), database) {
            let message = "--clean drops the database, and its name was not confirmed";
            return Err(Error::new(Stage::Restore, Kind::Refused, database, message)
                .hint("type the name on a terminal, or pass --yes"));
        }
    }
    Ok(())
}

fn selector(args: &Restore) -> Result<Selector> {
    let job = args.job.clone();
    match (args.run.as_deref(), &args.subject) {
        (Some("latest"), named) => Ok(Selector::LatestRun { job: job.or_else(|| named.clone()) }),
        (Some(_), Some(named)) => {
            let message = "--run restores all subjects of a run, and conflicts with a subject";
            Err(Error::new(Stage::Config, Kind::Usage, named, message).hint("omit the subject or --run"))
        }
        (Some(run), None) => Ok(Selector::Run(run.to_owned())),
        (None, words) => Ok(Selector::Subject {
            words: words.clone().unwrap_or_default(),
            job,
            at: args.at.as_deref().map(parse_time).transpose()?,
            globals: if args.globals { Globals::First } else { Globals::Leave },
        }),
    }
}
