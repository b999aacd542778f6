//! A comparison of commands that do the same and take turns.

use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};

use super::database::shell;
use crate::Result;

/// The results of a comparison. The first command is the alternative of a user.
pub(crate) struct Comparison {
    name: String,
    candidates: Vec<Candidate>,
}

struct Candidate {
    name: String,
    cost: Cost,
}

/// The cost of a command.
#[derive(Debug, Clone, Copy)]
struct Cost {
    wall_seconds: f64,
    /// The CPU time of all processes.
    cpu_seconds: f64,
    /// The peak memory of the largest process.
    peak_bytes: f64,
    /// The bytes that all processes wrote to files.
    written_bytes: f64,
}

/// Runs shell commands in turns, prints their medians as a table, and returns them. `bytes` is the
/// amount of data of each command, or 0 if the time does not depend on it.
pub(crate) fn compare(name: &str, rounds: usize, bytes: u64, commands: &[(&str, String)]) -> Result<Comparison> {
    compare_from("true", name, rounds, bytes, commands)
}

/// Compares commands as [`compare`] does. The shell command `start` runs before each of them and is
/// not measured.
pub(crate) fn compare_from(
    start: &str,
    name: &str,
    rounds: usize,
    bytes: u64,
    commands: &[(&str, String)],
) -> Result<Comparison> {
    let before = ProcessorTime::now()?;
    let mut costs = vec![Vec::new(); commands.len()];
    // The first round is not measured: it fills the caches for all commands.
    for round in 0..=rounds {
        for ((_, command), costs) in commands.iter().zip(&mut costs) {
            shell(start)?;
            let cost = cost(command)?;
            if round > 0 {
                costs.push(cost);
            }
        }
    }
    let candidates = commands.iter().zip(costs).map(|((name, _), costs)| {
        let median = |of: fn(&Cost) -> f64| median(costs.iter().map(of));
        let cost = Cost {
            wall_seconds: median(|cost| cost.wall_seconds),
            cpu_seconds: median(|cost| cost.cpu_seconds),
            peak_bytes: median(|cost| cost.peak_bytes),
            written_bytes: median(|cost| cost.written_bytes),
        };
        Candidate { name: (*name).to_owned(), cost }
    });
    let comparison = Comparison { name: name.to_owned(), candidates: candidates.collect() };
    comparison.print(bytes);
    let stolen = ProcessorTime::now()?.stolen_since(&before);
    if stolen > MUCH_STOLEN {
        println!(
            "      other guests took {:.0} % of the processors: measure again when the host is idle",
            stolen * 100.0
        );
    }
    Ok(comparison)
}

/// The share of CPU time taken by other guests of the host above which the ratios are unreliable.
const MUCH_STOLEN: f64 = 0.03;

/// The CPU time since the start of the system, in ticks
/// ([proc_stat(5)](https://man7.org/linux/man-pages/man5/proc_stat.5.html)).
struct ProcessorTime {
    all: f64,
    stolen: f64,
}

impl ProcessorTime {
    fn now() -> Result<Self> {
        let stat = std::fs::read_to_string("/proc/stat").map_err(|error| format!("/proc/stat: {error}"))?;
        // The fields are user, nice, system, idle, iowait, irq, softirq, steal; user includes a
        // guest's time.
        let fields = stat.split_whitespace().skip(1).take(8).map(|ticks| ticks.parse().unwrap_or(0.0));
        let fields: Vec<f64> = fields.collect();
        Ok(Self { all: fields.iter().sum(), stolen: fields.last().copied().unwrap_or(0.0) })
    }

    /// Returns the share of CPU time that was stolen since `before`.
    fn stolen_since(&self, before: &Self) -> f64 {
        (self.stolen - before.stolen) / (self.all - before.all).max(1.0)
    }
}

impl Comparison {
    fn print(&self, bytes: u64) {
        println!("    {}", self.name);
        let first = self.candidates.first().map_or(1.0, |first| first.cost.wall_seconds);
        for Candidate { name, cost } in &self.candidates {
            let pace = match bytes {
                0 => String::new(),
                bytes => format!("  {:>5.2} GB/s", bytes as f64 / cost.wall_seconds / 1e9),
            };
            println!(
                "      {name:<52} {:>7.3} s  {:>6.3} x{pace}  CPU {:>7.3} s  memory {:>4.0} MB  written {:>5.0} MB",
                cost.wall_seconds,
                cost.wall_seconds / first,
                cost.cpu_seconds,
                cost.peak_bytes / 1e6,
                cost.written_bytes / 1e6,
            );
        }
    }
}

/// Returns all comparisons as JSON.
pub(crate) fn to_json(comparisons: &[Comparison]) -> String {
    let of = |Candidate { name, cost }: &Candidate| {
        let mut json = cost.to_json();
        json["name"] = json!(name);
        json
    };
    let all: Vec<Value> = comparisons
        .iter()
        .map(|comparison| json!({"name": comparison.name, "contestants": comparison.candidates.iter().map(of).collect::<Vec<_>>()}))
        .collect();
    format!("{:#}\n", Value::from(all))
}

impl Cost {
    fn to_json(self) -> Value {
        json!({
            "wall_seconds": self.wall_seconds,
            "cpu_seconds": self.cpu_seconds,
            "peak_bytes": self.peak_bytes,
            "written_bytes": self.written_bytes,
        })
    }

    fn from_json(json: &Value) -> Option<Self> {
        let number = |name: &str| json[name].as_f64();
        Some(Self {
            wall_seconds: number("wall_seconds")?,
            cpu_seconds: number("cpu_seconds")?,
            peak_bytes: number("peak_bytes")?,
            written_bytes: number("written_bytes")?,
        })
    }
}

/// Measures a shell command in a process of its own, because a process knows only the total cost of
/// all its children.
fn cost(command: &str) -> Result<Cost> {
    let own = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let run = Command::new(own).args(["measure", command]).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let run = run.map_err(|error| format!("cannot run this program again: {error}"))?;
    let json = serde_json::from_slice(&run.stdout).unwrap_or(Value::Null);
    Cost::from_json(&json).ok_or_else(|| format!("{command}: failed"))
}

/// Runs a shell command and prints its cost as JSON.
pub(crate) fn measure(command: &str) -> Result<()> {
    let start = Instant::now();
    let status = Command::new("bash").args(["-o", "pipefail", "-c", command]).stdin(Stdio::null()).status();
    let wall_seconds = start.elapsed().as_secs_f64();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => return Err(format!("{command}: {status}")),
        Err(error) => return Err(format!("cannot run bash: {error}")),
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|error| format!("getrusage: {error}"))?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    let cost = Cost {
        wall_seconds,
        cpu_seconds: seconds(usage.user_time()) + seconds(usage.system_time()),
        peak_bytes: usage.max_rss() as f64 * 1024.0,
        written_bytes: usage.block_writes() as f64 * 512.0,
    };
    println!("{}", cost.to_json());
    Ok(())
}

/// Returns the number that a shell command prints.
pub(super) fn bytes_of(command: &str) -> Result<u64> {
    let output = Command::new("bash").args(["-o", "pipefail", "-c", command]).output();
    let output = output.map_err(|error| format!("cannot run bash: {error}"))?;
    let number = String::from_utf8_lossy(&output.stdout).trim().parse();
    number.map_err(|error| format!("{command} did not print a number: {error}"))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
