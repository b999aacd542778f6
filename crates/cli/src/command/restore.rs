//! `longshore restore`: bring backups home.

use longshore_core::plugin::{Cluster, Target, TargetContent, TargetDatabase};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_service::fleet::moment;
use longshore_service::restore::{Chosen, Globals, What, choose, contents, save};

use crate::args::Restore;
use crate::command::{Bridge, asked, identities};
use crate::exit_code::Exit;

pub(super) async fn restore(bridge: &Bridge, args: Restore) -> Result<Exit> {
    let Bridge { config, registry, output } = bridge;
    if args.jobs > 1 && args.scratch_dir.is_none() {
        let message = "several connections need the archive in a file, not a stream";
        return Err(Error::new(Stage::Config, Kind::Usage, "--jobs", message)
            .hint("name a folder for its plaintext, best one in memory: --scratch-dir /dev/shm"));
    }
    let identities = identities(&args.identity);
    let chosen = choose(config, &what(&args)?, args.from.as_deref()).await?;
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
    let notes = longshore_service::restore::restore(registry, &chosen, &target, &identities, &began).await?;
    for note in notes {
        output.note(note);
    }
    let count = chosen.len();
    output.line(format_args!("restored {count} {}", if count == 1 { "backup" } else { "backups" }));
    Ok(Exit::Done)
}

fn what(args: &Restore) -> Result<What> {
    match (&args.run, &args.subject) {
        (Some(run), _) => Ok(What::Run(run.clone())),
        (None, words) => Ok(What::Subject {
            words: words.clone().unwrap_or_default(),
            at: args.at.as_deref().map(moment).transpose()?,
            globals: if args.globals { Globals::First } else { Globals::Leave },
        }),
    }
}

fn target(args: &Restore) -> Result<Target> {
    Ok(Target {
        cluster: Cluster {
            name: "target".to_owned(),
            connection: args.to.clone().unwrap_or_default().into(),
            password: asked(Some(&args.password))?,
            bin_dir: None,
        },
        database: if args.create { TargetDatabase::Create } else { TargetDatabase::Existing },
        content: if args.clean { TargetContent::Replace } else { TargetContent::MustBeEmpty },
        jobs: args.jobs,
        scratch_dir: args.scratch_dir.clone(),
    })
}
