//! Two commands or more that do the same, in turns.

use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};

use crate::Result;

/// What came of commands that took turns. The first is what a user would run instead.
pub(crate) struct Contest {
    name: String,
    contestants: Vec<Contestant>,
}

struct Contestant {
    name: String,
    wall_seconds: f64,
    cpu_seconds: f64,
}

/// Runs shell commands in turns, prints their medians as a table, and returns them. `bytes` is what each works on.
pub(crate) fn contest(name: &str, rounds: usize, bytes: u64, commands: &[(&str, String)]) -> Result<Contest> {
    let mut times = vec![Vec::new(); commands.len()];
    // One round for nothing, so that everybody finds the same in memory.
    for round in 0..=rounds {
        for ((_, command), times) in commands.iter().zip(&mut times) {
            let time = time(command)?;
            if round > 0 {
                times.push(time);
            }
        }
    }
    let contestants = commands.iter().zip(times).map(|((name, _), times)| Contestant {
        name: (*name).to_owned(),
        wall_seconds: median(times.iter().map(|time| time.0)),
        cpu_seconds: median(times.iter().map(|time| time.1)),
    });
    let contest = Contest { name: name.to_owned(), contestants: contestants.collect() };
    contest.print(bytes);
    Ok(contest)
}

impl Contest {
    fn print(&self, bytes: u64) {
        println!("    {}", self.name);
        let first = self.contestants.first().map_or(1.0, |first| first.wall_seconds);
        for Contestant { name, wall_seconds, cpu_seconds } in &self.contestants {
            let rate = bytes as f64 / wall_seconds / 1e9;
            println!(
                "      {name:<44} {wall_seconds:>7.3} s  {:>5.2} x  CPU {cpu_seconds:>7.3} s  {rate:>5.2} GB/s",
                wall_seconds / first
            );
        }
    }
}

/// All contests, for programs.
pub(crate) fn to_json(contests: &[Contest]) -> String {
    let of = |contestant: &Contestant| json!({"name": contestant.name, "wall_seconds": contestant.wall_seconds, "cpu_seconds": contestant.cpu_seconds});
    let all: Vec<Value> = contests
        .iter()
        .map(|contest| json!({"name": contest.name, "contestants": contest.contestants.iter().map(of).collect::<Vec<_>>()}))
        .collect();
    format!("{:#}\n", Value::from(all))
}

/// The time that a shell command takes by the clock, and on processors.
fn time(command: &str) -> Result<(f64, f64)> {
    let before = cpu_seconds()?;
    let start = Instant::now();
    let status = Command::new("bash").args(["-o", "pipefail", "-c", command]).stdin(Stdio::null()).status();
    let seconds = start.elapsed().as_secs_f64();
    match status {
        Ok(status) if status.success() => Ok((seconds, cpu_seconds()? - before)),
        Ok(status) => Err(format!("{command}: {status}")),
        Err(error) => Err(format!("cannot run bash: {error}")),
    }
}

/// What all children took so far.
fn cpu_seconds() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|error| format!("getrusage: {error}"))?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
