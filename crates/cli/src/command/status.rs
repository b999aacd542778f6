//! `longshore status`: show the state of each series, and problems that need attention.

mod nagios;
mod table;

use std::collections::BTreeSet;

use longshore_core::Result;
use longshore_service::status::{Matter, Request, Status, status as look};
use serde_json::{Map, Value};

use crate::args::Status as Arguments;
use crate::command::{Context, identities};
use crate::exit_code::Exit;
use crate::output::Output;
use crate::plugins;
use crate::zone::Zone;

pub(super) async fn status(
    context: impl FnOnce() -> Result<Context>,
    args: &Arguments,
    output: Output,
) -> Result<Exit> {
    let looked = async {
        let Context { config, registry, .. } = context()?;
        let identities = identities(&args.identity, &config).await?;
        let request =
            Request { job: args.job.as_deref(), max_age: args.max_age, identities: &identities, tables: &tables };
        look(&config, &registry, &request).await
    };
    let looked = looked.await;
    if args.nagios {
        return Ok(nagios::tell(output, &looked).into());
    }
    let status = looked?;
    if args.json.json {
        if output.json(&status) == Exit::Failed {
            return Ok(Exit::Failed);
        }
    } else {
        table::show(output, &status, Zone::of(args.local.local));
    }
    Ok(exit(&status))
}

/// Returns the names of the tables in a record.
fn tables(details: &Map<String, Value>) -> Option<BTreeSet<String>> {
    let facts = plugins::archive(details)?;
    let name = |table: &plugins::Table| match &table.schema {
        Some(schema) => format!("{schema}.{}", table.name),
        None => table.name.clone(),
    };
    Some(facts.tables.iter().map(name).collect())
}

fn exit(status: &Status) -> Exit {
    if status.destinations.iter().all(|destination| destination.error.is_some()) {
        return Exit::Failed;
    }
    if status.attention.iter().any(|it| it.matter == Matter::Damaged) {
        return Exit::Damaged;
    }
    if status.attention.iter().any(|it| it.matter.alarms()) { Exit::Partial } else { Exit::Done }
}
