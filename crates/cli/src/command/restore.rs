//! `longshore restore`: bring backups home.

use std::collections::BTreeMap;

use longshore_core::drill::Compared;
use longshore_core::error::printable;
use longshore_core::left_out::LeftOut;
use longshore_core::plugin::{
    Cluster, Owners, Privileges, Scripts, Section, Selection, Statistics, Target, TargetContent, TargetDatabase,
};
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_service::catalogs::moment;
use longshore_service::restore::{
    Choice, Chosen, Compare, Globals, Outcome, Restored, Restorer, What, choose, contents, save,
};
use longshore_service::run_report::Made;

use crate::args::{self, Restore};
use crate::ask::types;
use crate::command::{Context, asked, identities};
use crate::exit_code::Exit;
use crate::output::Output;
use crate::plugins::database_of;
use crate::progress::restore_watcher;

pub(super) async fn restore(context: &Context, args: Restore) -> Result<Exit> {
    let Context { config, registry, output, recorder } = context;
    if args.jobs > 1 && args.scratch_dir.is_none() {
        let message = "several connections need the archive in a file, not a stream";
        return Err(Error::new(Stage::Config, Kind::Usage, "--jobs", message)
            .hint("name a folder for its plaintext, best one in memory: --scratch-dir /dev/shm"));
    }
    if args.output.as_deref() == Some(std::path::Path::new("-")) {
        let message = "writes to a new file, which must be named";
        return Err(Error::new(Stage::Config, Kind::Usage, "--output", message).hint("name it ./- if that is its name"));
    }
    let identities = identities(&args.identity, config).await?;
    let Choice { backups: chosen, missing, warnings } = choose(config, &what(&args)?, args.from.as_deref()).await?;
    for warning in warnings.iter().chain(&missing) {
        output.warning(warning);
    }
    if args.create && !chosen.iter().any(|chosen| chosen.backup.manifest.subject.is_database()) {
        let message = "makes the database that is restored, and what is restored is none";
        return Err(Error::new(Stage::Config, Kind::Usage, "--create", message).hint("leave it out"));
    }
    let target = target(&args)?;
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
    confirm(&args, &chosen)?;
    let restorer = Restorer {
        registry,
        target: &target,
        identities: &identities,
        parallel: args.parallel as usize,
        compare: if args.no_compare { Compare::Nothing } else { Compare::Recorded },
        watch: restore_watcher(*output, &chosen),
    };
    let restored = restorer.restore(&chosen).await?;
    recorder.made(Made::restored(&chosen, &restored));
    let exit = tell(*output, &chosen, restored);
    Ok(if exit == Exit::Done && missing.is_some() { Exit::Partial } else { exit })
}

/// Has somebody type the name of each database that --clean may drop, unless --yes says it.
fn confirm(args: &Restore, chosen: &[Chosen]) -> Result<()> {
    if !args.clean || args.yes {
        return Ok(());
    }
    let named = database_of(args.to.as_deref().unwrap_or_default())?;
    for chosen in chosen {
        let Subject::Database { name } = &chosen.backup.manifest.subject else { continue };
        let database = named.as_deref().unwrap_or(name);
        let shown = printable(database);
        if !types(&format!("type the name of the database to be dropped, \"{shown}\""), database) {
            let message = "--clean drops what is in the database, and nobody has typed its name";
            return Err(Error::new(Stage::Restore, Kind::Refused, database, message)
                .hint("type it on a terminal, or give --yes"));
        }
    }
    Ok(())
}

/// Says what became of each, and of all.
fn tell(output: Output, chosen: &[Chosen], restored: Vec<Restored>) -> Exit {
    let (mut whole, mut different, mut left_out) = (0, 0, 0);
    let mut worst = Exit::Done;
    for (chosen, restored) in chosen.iter().zip(restored) {
        match restored {
            Ok(outcome) => {
                whole += 1;
                outcome.notes.iter().for_each(|note| output.note(note));
                left_out += outcome.left_out.len();
                outcome.left_out.iter().for_each(|entry| not_made(output, &chosen.backup.manifest.subject, entry));
                different += compared(output, chosen, &outcome);
            }
            Err(error) => worst = output.error(&error),
        }
    }
    let wanted = chosen.len();
    let exit = match (worst, whole) {
        (Exit::Done, _) => {
            output.line(format_args!("restored {whole} {}", if whole == 1 { "backup" } else { "backups" }));
            Exit::Done
        }
        (worst, 0) => {
            output.line(format_args!("restored 0 of {wanted} backups"));
            worst
        }
        _ => {
            output.line(format_args!("restored {whole} of {wanted} backups"));
            Exit::Partial
        }
    };
    match exit {
        _ if different > 0 => Exit::Damaged,
        Exit::Done if left_out > 0 => Exit::Partial,
        exit => exit,
    }
}

/// Reports an entry that could not be made, with the command that makes it later.
fn not_made(output: Output, subject: &Subject, left_out: &LeftOut) {
    let (entry, why) = (printable(left_out.entry()), printable(&left_out.why));
    let command = printable(&left_out.command);
    output.problem(&format!("{subject}: not restored: {entry}: {why}"), Some(&command));
}

/// Says how what was restored differs from the record of its dump, and returns in how many things.
fn compared(output: Output, chosen: &Chosen, outcome: &Outcome) -> usize {
    let of = |wanted: fn(&Compared) -> bool| outcome.comparisons.iter().filter(move |one| wanted(&one.outcome));
    let subject = &chosen.backup.manifest.subject;
    for difference in of(|outcome| *outcome == Compared::Different) {
        let shown = |value: &Option<String>| value.as_deref().map_or_else(|| "nothing".to_owned(), printable);
        output.problem(
            &format!(
                "{subject}: {} DIFFERS: {} was {} when it was dumped, and is {}",
                printable(&difference.subject),
                difference.aspect,
                shown(&difference.expected),
                shown(&difference.found)
            ),
            None,
        );
    }
    let different = of(|outcome| *outcome == Compared::Different).count();
    let same = of(|outcome| *outcome == Compared::Same).count();
    if same + different > 0 {
        output.note(format_args!("{subject}: {same} things are as recorded when it was dumped, {different} differ"));
    }
    different
}

fn what(args: &Restore) -> Result<What> {
    let job = args.job.clone();
    match (args.run.as_deref(), &args.subject) {
        (Some("latest"), _) => Ok(What::LatestRun { job }),
        (Some(run), _) => Ok(What::Run(run.to_owned())),
        (None, words) => Ok(What::Subject {
            words: words.clone().unwrap_or_default(),
            job,
            at: args.at.as_deref().map(moment).transpose()?,
            globals: if args.globals { Globals::First } else { Globals::Leave },
        }),
    }
}

fn target(args: &Restore) -> Result<Target> {
    let cluster = Cluster {
        name: "target".to_owned(),
        connection: args.to.clone().unwrap_or_default().into(),
        password: asked(Some(&args.password))?,
        bin_dir: None,
    };
    Ok(Target {
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
        privileges: if args.no_privileges { Privileges::Left } else { Privileges::AsDumped },
        role_map: role_map(&args.role_map)?,
        statistics: if args.no_analyze { Statistics::Left } else { Statistics::Gathered },
        scripts: if args.trust_script { Scripts::Trusted } else { Scripts::Harmless },
        stall_timeout: args.stall_timeout.duration(),
        ..Target::new(cluster)
    })
}

/// The map of roles; one that is renamed twice is an error.
fn role_map(all: &[(String, String)]) -> Result<BTreeMap<String, String>> {
    let mut map = BTreeMap::new();
    for (old, new) in all {
        if let Some(other) = map.insert(old.clone(), new.clone()).filter(|other| other != new) {
            let message = format!("cannot become both \"{}\" and \"{}\"", printable(&other), printable(new));
            return Err(Error::new(Stage::Config, Kind::Usage, old, message).hint("give --role-map once for each role"));
        }
    }
    Ok(map)
}

fn selection(args: &Restore) -> Result<Selection> {
    let read = |path: &std::path::PathBuf| {
        std::fs::read_to_string(path).map_err(|error| {
            Error::io(Stage::Config, path.display().to_string(), "cannot read the list of what is wanted", error)
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
