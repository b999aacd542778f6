//! A restore from a snapshot on this host.

use std::path::Path;

use longshore_core::plugin::{DataDirectory, Start, Target};
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_engine::run_report::CommandResult;
use longshore_engine::snapshots::HostSnapshots;

use super::target::data_directory;
use crate::args::Restore;
use crate::command::Context;
use crate::exit_code::Exit;

/// Restores the snapshot of this name, or the newest one.
pub(super) async fn restore(context: &Context, args: &Restore, name: &str) -> Result<Exit> {
    let Context { config, registry, output, recorder, .. } = context;
    let words = args.subject.as_deref().unwrap_or_default();
    let cluster = words.strip_suffix(&format!("/{}", Subject::Base)).unwrap_or(words);
    let Some(source) = config.jobs.values().map(|job| &job.site.cluster).find(|found| found.name == cluster) else {
        let message = "not a cluster of any job, and snapshots are of whole clusters";
        return Err(Error::new(Stage::Restore, Kind::Usage, words, message)
            .hint("name the cluster: longshore restore CLUSTER --from-snapshot latest --to-dir DIR"));
    };
    let chosen = HostSnapshots::find(config).await.choose(cluster, name)?;
    let directory = data_directory(args, args.to_dir.as_deref().unwrap_or(Path::new(".")))?;
    let bin_dir = source.bin_dir.clone();
    let target = Target::DataDirectory(DataDirectory { start: args.start.then_some(Start { bin_dir }), ..directory });
    let restored = chosen.restore(registry, &target).await;
    recorder.record(CommandResult::restored_snapshot(&restored));
    let restored = restored?;
    if args.json.json {
        let phases = &restored.phases;
        return Ok(output.json(&serde_json::json!({
            "snapshot": chosen.kept.name, "restored": true, "notes": restored.notes, "phases": phases,
        })));
    }
    restored.notes.iter().for_each(|note| output.note(note));
    output.line(format_args!("restored snapshot {}", chosen.kept.name));
    Ok(Exit::Done)
}
