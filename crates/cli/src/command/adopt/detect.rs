//! `longshore adopt detect`: the tables that adopt the files of other tools.

use std::fmt::Write;

use indicatif::HumanBytes;
use longshore_config::Config;
use longshore_core::Result;
use longshore_core::error::printable;
use longshore_engine::adoption::detect::{Detected, DetectedAdopt, detect as detect_files};

use crate::args::adopt::Detect;
use crate::command::Context;
use crate::exit_code::Exit;

/// The number of unclaimed files that are named.
const EXAMPLES: usize = 10;
/// The number of databases that are named.
const DATABASES: usize = 6;
/// The policy of the tables if the configuration has none.
const POLICY: &str = "adopted";

pub(super) async fn detect(context: &Context, args: &Detect) -> Result<Exit> {
    let Context { config, output, .. } = context;
    let detected = detect_files(config, &args.destination).await?;
    if args.json.json {
        return Ok(output.json(&detected));
    }
    output.line(tables(config, &detected).trim_end());
    Ok(Exit::Done)
}

/// Returns the tables, as a part of a configuration: everything else is a comment.
fn tables(config: &Config, detected: &Detected) -> String {
    let Detected { destination, adopts, unclaimed, adopted_already } = detected;
    let mut text = String::new();
    let files: usize = adopts.iter().map(|adopt| adopt.files).sum();
    let mut line = |line: std::fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        writeln!(text, "{line}").unwrap_or_default();
    };
    line(format_args!("# Files of other tools at \"{destination}\": {}", counted(files, "file")));
    if *adopted_already > 0 {
        line(format_args!("# The configuration adopts {} already.", counted(*adopted_already, "other file")));
    }
    let policy = policy(config, destination);
    for adopt in adopts {
        line(format_args!("{}", table(adopt, destination, policy.unwrap_or(POLICY))));
    }
    if policy.is_none() && !adopts.is_empty() {
        line(format_args!(
            "\n# A file is kept if any rule keeps it.\n[retention.{POLICY}]\nkeep_daily = 7\nkeep_weekly = 5\nkeep_monthly = 12"
        ));
    }
    if !unclaimed.is_empty() {
        let number = unclaimed.len();
        line(format_args!("\n# Not claimed, and never removed: {}", counted(number, "file")));
        for file in unclaimed.iter().take(EXAMPLES) {
            line(format_args!("#   {}: {}", printable(file.key.as_str()), file.why));
        }
        if number > EXAMPLES {
            line(format_args!("#   and {} more; --json lists all", number - EXAMPLES));
        }
    }
    text
}

/// Returns the table of one adopt.
fn table(adopt: &DetectedAdopt, destination: &str, policy: &str) -> String {
    let DetectedAdopt { name, tool, pattern, files, bytes, oldest, newest, hard_links, .. } = adopt;
    let databases: Vec<String> =
        adopt.databases.iter().take(DATABASES).map(|name| printable(name).to_string()).collect();
    let more = adopt.databases.len() - databases.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let (oldest, newest) = (oldest.format("%Y-%m-%d"), newest.format("%Y-%m-%d"));
    let of = if adopt.companions { "no dumps, but written beside them:" } else { "databases:" };
    let mut table = format!(
        "\n# {tool}: {}, {}, from {oldest} to {newest}\n# {of} {}{more}\n",
        counted(*files, "file"),
        HumanBytes(*bytes),
        databases.join(", ")
    );
    if *hard_links > 0 {
        table += &format!(
            "# {} of another name: its space is free after the last name is removed\n",
            counted(*hard_links, "hard link")
        );
    }
    let quoted = |text: &str| toml::Value::from(text).to_string();
    table += &format!("[adopt.{name}]\ndestination = {}\npattern = {}\n", quoted(destination), quoted(pattern));
    if let Some(database) = adopt.database {
        table += &format!("database = {}    # the names contain none\n", quoted(database));
    }
    table += &format!("retention = {}\n", quoted(policy));
    if adopt.needs_time_zone {
        table += "# The names contain local time: set the zone of the host that made the files.\n\
                  # timezone = \"Europe/Berlin\"\n";
    }
    table
}

/// Returns the name of a policy: that of a job at this destination, or any of the configuration.
fn policy<'a>(config: &'a Config, destination: &str) -> Option<&'a str> {
    let mut of_jobs = config.jobs.values().filter_map(|job| job.retention.get(destination));
    let used = of_jobs.next().and_then(|policy| {
        let mut names = config.policies.iter();
        names.find(|(_, named)| *named == policy).map(|(name, _)| name.as_str())
    });
    used.or_else(|| config.policies.keys().next().map(String::as_str))
}

fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
