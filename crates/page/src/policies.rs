//! The pages of retention policies, each with a simulation of a year of daily backups.

use std::time::Duration;

use longshore_core::unit::TimeSpan;
use longshore_engine::simulate::{Scenario, Simulation, simulate};
use longshore_retention::{Policy, describe_reasons};

use crate::Context;
use crate::drawing::curve;
use crate::layout::Layout;
use crate::table::{self, Cell, Section, Table};
use crate::text::{minute, path};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// The simulated number of days.
const DAYS: u32 = 365;
/// The number of rows of each table.
const MAX_ROWS: usize = 500;

/// Renders the list of policies.
pub fn list(context: &Context<'_>) -> String {
    let rows = context.config.policies.iter().map(|(name, policy)| {
        vec![
            Cell::new(name).link(path(&["policies", name])),
            Cell::new(policy.to_string()),
            Cell::new(users(context, policy).join(", ")),
        ]
    });
    let section = match context.config.policies.is_empty() {
        true => Section::default().line("quiet", "The configuration has no retention policy: nothing is removed."),
        false => Section::default().table(Table::new("Policies", &["Name", "Rules", "Jobs"]).rows(rows, MAX_ROWS)),
    };
    table::page(Layout::new(context, "Retention", "/policies"), vec![section])
}

/// Returns the jobs that use a policy, each with its destinations.
fn users(context: &Context<'_>, policy: &Policy) -> Vec<String> {
    let of_job = context.config.jobs.values().filter_map(|job| {
        let at = job.retention.iter().filter(|(_, used)| *used == policy).map(|(at, _)| at.as_str());
        let at: Vec<_> = at.collect();
        (!at.is_empty()).then(|| format!("{} at {}", job.name, at.join(", ")))
    });
    of_job.collect()
}

/// Renders the page of a policy. Returns `None` if the configuration has no policy of this name.
pub fn page(context: &Context<'_>, name: &str) -> Option<String> {
    let policy = context.config.policies.get(name)?;
    let facts = Section::default()
        .fact("Rules", policy.to_string())
        .fact("Time zone", policy.timezone.name())
        .fact("Jobs", users(context, policy).join("; "));
    let scenario = Scenario {
        policy,
        start: context.now - chrono::TimeDelta::days(i64::from(DAYS) - 1),
        every: TimeSpan::new(DAY),
        lasting: TimeSpan::new(DAY * DAYS),
        size: None,
        differences: None,
        until: None,
    };
    let simulation = match simulate(&scenario) {
        Ok(simulation) => simulation_section(&simulation),
        Err(error) => Section::new("Simulation").line("bad", &error.chain()),
    };
    Some(table::page(Layout::new(context, format!("Policy {name}"), "/policies"), vec![facts, simulation]))
}

fn simulation_section(simulation: &Simulation) -> Section {
    let points: Vec<_> = simulation.days.iter().map(|day| (day.time, day.backups as u64)).collect();
    let drawing = curve(&points, "Number of backups over a year of daily runs", |count| count.to_string());
    let rows = simulation
        .survivors
        .iter()
        .map(|survivor| vec![Cell::new(minute(survivor.time)), Cell::new(describe_reasons(&survivor.reasons))]);
    Section::new("Simulation")
        .line(
            "quiet",
            &format!(
                "A backup each day for a year, each followed by a prune: at most {} backups at a time, {} at the end.",
                simulation.most,
                simulation.survivors.len()
            ),
        )
        .drawing(drawing)
        .table(Table::new("Backups at the end, the newest first", &["Time", "Reasons"]).rows(rows, MAX_ROWS))
}
