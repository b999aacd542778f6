//! `longshore remove`: remove one backup.

use longshore_core::error::printable;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_engine::prune::{Mode, Pruned, RemoveRequest, remove_backup};

use crate::args::Remove;
use crate::command::short_name::full_name;
use crate::command::{Context, prune};
use crate::exit_code::Exit;
use crate::prompt::confirm_typed;

pub(super) async fn remove(context: &Context, args: &Remove) -> Result<Exit> {
    let Context { config, output, recorder, .. } = context;
    if args.why.trim().is_empty() {
        return Err(Error::new(Stage::Retention, Kind::Usage, "--why", "the reason is empty").hint("pass a reason"));
    }
    let name = full_name(config, &args.backup, args.destination.as_deref()).await?;
    let request =
        RemoveRequest { name: &name, destination: args.destination.as_deref(), why: &args.why, mode: Mode::DryRun };
    // Plan before the prompt, so that a refusal does not prompt.
    let planned = remove_backup(config, &request).await?;
    let goes = planned.iter().any(|pruned| pruned.series.iter().any(|series| !series.remove.is_empty()));
    let (removed, mode) = match args.dry_run || !goes {
        true => (planned, Mode::DryRun),
        false => {
            confirm(args, &planned)?;
            (remove_backup(config, &RemoveRequest { mode: Mode::Act, ..request }).await?, Mode::Act)
        }
    };
    recorder.record(&removed[..]);
    if args.json.json {
        output.json(&removed);
    } else {
        prune::print(*output, &removed, mode);
    }
    Ok(prune::exit(&removed))
}

/// Prompts for `yes` on the terminal, unless `--yes` is set.
fn confirm(args: &Remove, planned: &[Pruned]) -> Result<()> {
    if args.yes {
        return Ok(());
    }
    let from = |pruned: &Pruned| {
        let mut names = pruned.series.iter().flat_map(|series| &series.remove).map(|removed| removed.name.to_string());
        Some(format!("{} from \"{}\"", names.next_back()?, pruned.destination))
    };
    let all: Vec<_> = planned.iter().filter_map(from).collect();
    if confirm_typed(&format!("type yes to remove {}", all.join(", ")), "yes") {
        return Ok(());
    }
    let message = "permanent removal was not confirmed";
    Err(Error::new(Stage::Retention, Kind::Refused, printable(&args.backup), message)
        .hint("type yes on a terminal, or pass --yes"))
}
