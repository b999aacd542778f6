//! `longshore serve`: the pages, and jobs by their schedules.

use std::path::Path;

use chrono::{SecondsFormat, Utc};
use longshore_config::Config;
use longshore_core::{Error, Result, Stage};
use longshore_serve::{Options, Program};

use crate::args::Serve;
use crate::command::{expect_readable, given_identities};
use crate::exit_code::Exit;
use crate::output::Output;
use crate::plugins;
use crate::signals::OrderlyStop;

/// Returns the time for a line of the log, unless the service manager adds one.
fn log_time() -> String {
    match std::env::var_os("JOURNAL_STREAM") {
        Some(_) => String::new(),
        None => format!("{} ", Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true)),
    }
}

pub(super) async fn serve(path: &Path, args: &Serve, output: Output, stop: &OrderlyStop) -> Result<Exit> {
    let file_error = |message, error| Error::io(Stage::Config, path.display().to_string(), message, error);
    let registry = plugins::registry();
    expect_readable(&args.identity)?;
    let options = Options {
        program: Program {
            binary: std::env::current_exe().map_err(|error| file_error("cannot find the program itself", error))?,
            config: std::path::absolute(path).map_err(|error| file_error("cannot find the configuration", error))?,
        },
        listen: args.listen.clone(),
        may_run: !args.no_schedule,
        registry: &registry,
        identities: &given_identities(&args.identity),
        tables: &plugins::table_names,
        load: &|| Config::load(path, &registry),
        note: &|note| output.note(format_args!("{}{note}", log_time())),
        version: env!("CARGO_PKG_VERSION"),
    };
    longshore_serve::serve(options, stop.supported_with_hang_up()).await?;
    Ok(Exit::Done)
}
