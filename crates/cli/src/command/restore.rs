//! `longshore restore`: restore backups.

mod report;

use std::collections::BTreeMap;

use longshore_core::error::printable;
use longshore_core::plugin::{
    Cluster, DatabaseTarget, Owners, Privileges, Scripts, SearchPath, Section, Selection, Statistics, Target,
    TargetContent, TargetDatabase,
};
use longshore_core::subject::{Subject, SubjectKind};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_engine::catalogs::parse_time;
use longshore_engine::encryption_policy::{EncryptionPolicy, Unsealed};
use longshore_engine::restore::{Choice, Chosen, Compare, Globals, Restorer, Selector, choose, contents, save};
use longshore_engine::run_report::CommandResult;
use secrecy::ExposeSecret;

use crate::args::{self, Restore};
use crate::command::short_name::full_name;
use crate::command::{Context, identities, prompt_password};
use crate::exit_code::Exit;
use crate::plugins::{database_of, names_server, with_database, without_password};
use crate::progress::restore_progress;
use crate::prompt::confirm_typed;

pub(super) async fn restore(context: &Context, mut args: Restore) -> Result<Exit> {
    let Context { config, registry, output, recorder, restore_states } = context;
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
    let identities = identities(&args.identity, config).await?;
    let unsealed = if args.allow_unsealed { Unsealed::Allowed } else { Unsealed::Refused };
    let policy = EncryptionPolicy::new(config, &identities, unsealed);
    if args.run.is_none()
        && let Some(words) = &args.subject
    {
        args.subject = Some(full_name(config, words, args.from.as_deref()).await?);
    }
    let chosen = choose(config, &selector(&args)?, args.from.as_deref(), &policy).await?;
    let Choice { backups: chosen, missing, warnings } = chosen;
    for warning in warnings.iter().chain(&missing) {
        output.warning(warning);
    }
    if args.create && !chosen.iter().any(is_of_database) {
        let message = "the backup is not of a database";
        return Err(Error::new(Stage::Config, Kind::Usage, "--create", message).hint("omit --create"));
    }
    let database = target(&args, context, &chosen)?;
    let target = Target::Database(database.clone());
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
    if !args.plan {
        confirm(&args, &chosen, &database)?;
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
        let findings = restorer.plan(&chosen).await.map_err(|error| with_target_note(error, target_note.as_deref()))?;
        return Ok(report::plan(*output, &findings, args.json.json));
    }
    if let Some(target_note) = &target_note {
        output.note(target_note);
    }
    let restored = restorer.restore(&chosen).await.map_err(|error| with_target_note(error, target_note.as_deref()))?;
    recorder.record(CommandResult::restored(&chosen, &restored));
    let exit = report::restored(*output, &chosen, &restored, args.json.json);
    Ok(if exit == Exit::Done && missing.is_some() { Exit::Partial } else { exit })
}

/// Returns a note with the connection of the source cluster, if `--to` names no server.
fn source_connection_note(args: &Restore, context: &Context, chosen: &[Chosen]) -> Result<Option<String>> {
    let to = args.to.as_deref().unwrap_or_default();
    if names_server(to)? {
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

/// Returns true for the backup of a single database.
fn is_of_database(chosen: &Chosen) -> bool {
    chosen.backup.manifest.subject.kind() == SubjectKind::Database
}

/// Returns the source cluster of the backups, if the configuration has it.
fn source<'a>(context: &'a Context, chosen: &[Chosen]) -> Option<&'a Cluster> {
    let name = &chosen.first()?.backup.manifest.cluster.name;
    context.config.jobs.values().map(|job| &job.site.cluster).find(|cluster| cluster.name == *name)
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

fn target(args: &Restore, context: &Context, chosen: &[Chosen]) -> Result<DatabaseTarget> {
    let to = args.to.clone().unwrap_or_default();
    let mut cluster = Cluster {
        name: "target".to_owned(),
        connection: to.clone().into(),
        password: prompt_password(Some(&args.password))?,
        // Prefer the programs that made the backup, which match the version of its server. Without
        // that directory on this host, other programs are searched.
        bin_dir: source(context, chosen).and_then(|cluster| cluster.bin_dir.clone()).filter(|folder| folder.is_dir()),
    };
    // Respect PGDATABASE like every libpq program; several databases keep their own names.
    let default = std::env::var("PGDATABASE").ok().filter(|name| !name.is_empty() && args.to.is_some());
    let databases = chosen.iter().filter(|chosen| is_of_database(chosen)).count();
    if let (Some(name), None, 1) = (default, database_of(&to)?, databases) {
        let (connection, password) = with_database(&to, &name)?;
        cluster.connection = connection;
        cluster.password = cluster.password.or(password);
    }
    Ok(DatabaseTarget {
        database: if args.create { TargetDatabase::Create } else { TargetDatabase::Existing },
        content: match (args.clean, args.append) {
            (true, _) => TargetContent::Replace,
            (false, true) => TargetContent::Append,
            (false, false) => TargetContent::MustBeEmpty,
        },
        jobs: args.jobs,
        scratch_dir: args.scratch_dir.clone(),
        selection: selection(args)?,
        owners: if args.no_owner { Owners::Restorer } else { Owners::AsDumped },
        privileges: if args.no_privileges { Privileges::OwnerOnly } else { Privileges::AsDumped },
        role_map: role_map(&args.role_map)?,
        statistics: if args.no_analyze { Statistics::Autovacuum } else { Statistics::Analyze },
        scripts: if args.trust_script { Scripts::Trusted } else { Scripts::Harmless },
        search_path: if args.own_search_path { SearchPath::Own } else { SearchPath::Empty },
        stall_timeout: args.stall_timeout.duration(),
        ..DatabaseTarget::new(cluster)
    })
}

/// Returns the map of roles. Fails if a role has two new names.
fn role_map(all: &[(String, String)]) -> Result<BTreeMap<String, String>> {
    let mut map = BTreeMap::new();
    for (old, new) in all {
        if let Some(other) = map.insert(old.clone(), new.clone()).filter(|other| other != new) {
            let message = format!("is mapped to both \"{}\" and \"{}\"", printable(&other), printable(new));
            return Err(Error::new(Stage::Config, Kind::Usage, old, message).hint("pass --role-map once per role"));
        }
    }
    Ok(map)
}

fn selection(args: &Restore) -> Result<Selection> {
    let read = |path: &std::path::PathBuf| {
        std::fs::read_to_string(path).map_err(|error| {
            Error::io(Stage::Config, path.display().to_string(), "cannot read the list of entries", error)
        })
    };
    let section = |section: &args::Section| match section {
        args::Section::PreData => Section::PreData,
        args::Section::Data => Section::Data,
        args::Section::PostData => Section::PostData,
    };
    Ok(Selection {
        tables: args.table.clone(),
        schemas: args.schema.clone(),
        sections: args.section.iter().map(section).collect(),
        list: args.list_file.as_ref().map(read).transpose()?,
    })
}
