//! `longshore restore`: bring backups home.

use std::sync::Arc;

use longshore_core::plugin::{Cluster, Target, TargetContent, TargetDatabase};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_service::catalogs::moment;
use longshore_service::restore::{
    Choice, Chosen, Compare, Globals, Nobody, Outcome, Restored, Restorer, What, choose, contents, save,
};

use crate::args::Restore;
use crate::command::{Context, asked, identities};
use crate::exit_code::Exit;
use crate::output::Output;

pub(super) async fn restore(context: &Context, args: Restore) -> Result<Exit> {
    let Context { config, registry, output } = context;
    if args.jobs > 1 && args.scratch_dir.is_none() {
        let message = "several connections need the archive in a file, not a stream";
        return Err(Error::new(Stage::Config, Kind::Usage, "--jobs", message)
            .hint("name a folder for its plaintext, best one in memory: --scratch-dir /dev/shm"));
    }
    if args.output.as_deref() == Some(std::path::Path::new("-")) {
        let message = "writes to a new file, which must be named";
        return Err(Error::new(Stage::Config, Kind::Usage, "--output", message).hint("name it ./- if that is its name"));
    }
    let identities = identities(&args.identity);
    let Choice { backups: chosen, missing, warnings } = choose(config, &what(&args)?, args.from.as_deref()).await?;
    for warning in warnings.iter().chain(&missing) {
        output.warning(warning);
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
    let began = |chosen: &Chosen| output.note(format_args!("{} from \"{}\"", chosen.backup.name, chosen.destination));
    if let Some(path) = &args.output {
        for chosen in &chosen {
            began(chosen);
            save(registry, chosen, path, &identities).await?;
        }
        output.line(format_args!("wrote {}", path.display()));
        return Ok(Exit::Done);
    }
    let restorer = Restorer {
        registry,
        target: &target,
        identities: &identities,
        parallel: 1,
        compare: Compare::Nothing,
        watch: Arc::new(Nobody),
    };
    chosen.iter().for_each(began);
    let restored = restorer.restore(&chosen).await?;
    let exit = tell(*output, chosen.len(), restored);
    Ok(if exit == Exit::Done && missing.is_some() { Exit::Partial } else { exit })
}

/// Says what became of each, and of all.
fn tell(output: Output, wanted: usize, restored: Vec<Restored>) -> Exit {
    let mut whole = 0;
    let mut worst = Exit::Done;
    for restored in restored {
        match restored {
            Ok(Outcome { notes, .. }) => {
                whole += 1;
                notes.iter().for_each(|note| output.note(note));
            }
            Err(error) => worst = output.error(&error),
        }
    }
    if worst == Exit::Done {
        output.line(format_args!("restored {whole} {}", if whole == 1 { "backup" } else { "backups" }));
        return Exit::Done;
    }
    output.line(format_args!("restored {whole} of {wanted} backups"));
    if whole == 0 { worst } else { Exit::Partial }
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
    Ok(Target {
        database: if args.create { TargetDatabase::Create } else { TargetDatabase::Existing },
        content: match (args.clean, args.append) {
            (true, _) => TargetContent::Replace,
            (false, true) => TargetContent::Append,
            (false, false) => TargetContent::MustBeEmpty,
        },
        jobs: args.jobs,
        scratch_dir: args.scratch_dir.clone(),
        ..Target::new(Cluster {
            name: "target".to_owned(),
            connection: args.to.clone().unwrap_or_default().into(),
            password: asked(Some(&args.password))?,
            bin_dir: None,
        })
    })
}
