//! Metrics for Prometheus: the output of `status --prometheus`, and the file of the configuration.

use std::path::Path;
use std::time::Duration;

use longshore_config::Config;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_engine::counters::Counters;
use longshore_engine::status::{Request, Status, status};
use longshore_metrics::{Sources, to_text};
use tokio::time::timeout;

use crate::command::no_identities;
use crate::exit_code::Exit;
use crate::output::Output;
use crate::plugins;

/// The time limit for reading the destinations after a run.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Writes metrics to a file, or prints them.
pub(super) fn show(output: Output, status: &Status, counters: &Counters, file: Option<&Path>) -> Result<Exit> {
    let text = to_text(&Sources { status, counters, service: None });
    match file {
        Some(file) => longshore_metrics::write(file, &text)?,
        None => output.line(text.trim_end()),
    }
    Ok(Exit::Done)
}

/// Writes the metrics file of the configuration, if there is one.
pub(crate) async fn write_file(config: &Config) -> Result<()> {
    let Some(file) = &config.metrics_file else { return Ok(()) };
    let identities = no_identities();
    let request = Request { job: None, max_age: None, identities: &identities, tables: &plugins::table_names };
    let registry = plugins::registry();
    let read = timeout(READ_TIMEOUT, status(config, &registry, &request)).await;
    let status = read.map_err(|_| {
        let message = format!("the destinations were not read within {} s", READ_TIMEOUT.as_secs());
        Error::new(Stage::Config, Kind::Unavailable, file.display().to_string(), message)
    })??;
    let text = to_text(&Sources { status: &status, counters: &Counters::read(config), service: None });
    longshore_metrics::write(file, &text)
}
