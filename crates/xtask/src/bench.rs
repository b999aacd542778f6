//! `cargo xtask bench`: Longshore's cost as a ratio to the alternatives of its users, measured in
//! one run on one machine.
//!
//! `--program FILE` measures this binary instead of a new build.
//! `--against restic,gpg` adds installed programs to the comparisons that support them.
//!
//! Contestants take turns in each round, so that other load on the machine affects all of them. The
//! medians are compared.

mod base;
mod bench_dir;
mod comparison;
mod dailies;
mod database;
mod list;
mod pg_backrest;
mod restore;
mod retention;
mod run;
mod seal;
mod ship;
mod small;
mod snapshot;
mod verify;
mod wal;

use std::path::{Path, PathBuf};

use crate::Result;
use crate::step::{cargo, step};
use comparison::Comparison;
pub(crate) use comparison::measure;

/// The function of a benchmark.
type Measure = fn(&Bench) -> Result<Vec<Comparison>>;

/// The benchmarks by name.
const BENCHES: [(&str, Measure); 12] = [
    ("run", run::comparisons),
    ("verify", verify::comparisons),
    ("seal", seal::comparisons),
    ("ship", ship::comparisons),
    ("small", small::comparisons),
    ("restore", restore::comparisons),
    ("list", list::comparisons),
    ("base", base::comparisons),
    ("snapshot", snapshot::comparisons),
    ("wal", wal::comparisons),
    ("retention", retention::comparisons),
    ("dailies", dailies::comparisons),
];

/// The options of a benchmark.
pub(crate) struct Bench {
    /// The scale of pgbench's tables; other sizes are in proportion. Scale 10 makes a database of
    /// some 600 MB, or 5,000 backups.
    scale: u32,
    /// The number of rounds.
    rounds: usize,
    /// The additional programs in the comparison.
    against: Vec<&'static str>,
    /// Longshore's binary, if it shall not be built.
    program: Option<PathBuf>,
}

/// The programs that can be added to a comparison.
const COMPARED_PROGRAMS: [&str; 4] = ["restic", "gpg", "rage", "pgbackrest"];

impl Bench {
    /// Returns true if a program was added to the comparison.
    fn compares_with(&self, program: &str) -> bool {
        self.against.contains(&program)
    }

    /// Builds Longshore as a release and returns its path.
    fn longshore(&self) -> Result<PathBuf> {
        match &self.program {
            Some(program) => Ok(program.clone()),
            None => build_release(&["--package", "longshore"], "longshore"),
        }
    }
}

/// Builds a program as a release and returns its path.
fn build_release(arguments: &[&str], path: &str) -> Result<PathBuf> {
    let heading = format!("cargo build --release {}", arguments.join(" "));
    step(&heading, cargo().args(["build", "--quiet", "--release"]).args(arguments))?;
    let output = cargo().args(["metadata", "--no-deps", "--format-version", "1"]).output();
    let output = output.map_err(|error| format!("cargo metadata: {error}"))?;
    let output: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))?;
    let target = output["target_directory"].as_str().ok_or("cargo metadata: no target_directory")?;
    let program = Path::new(target).join("release").join(path);
    program.canonicalize().map_err(|error| format!("cannot find the program {}: {error}", program.display()))
}

/// Parses names separated by commas. Fails if a program is unknown or not installed.
fn compared_programs(names: &str) -> Result<Vec<&'static str>> {
    let compared_program = |name: &str| {
        let known = COMPARED_PROGRAMS.into_iter().find(|known| *known == name);
        let known = known.ok_or_else(|| {
            format!("--against {name}: unknown program; expected one of {}", COMPARED_PROGRAMS.join(", "))
        })?;
        let installed = database::shell(&format!("command -v {known} > /dev/null")).is_ok();
        if installed { Ok(known) } else { Err(format!("--against {known}: not installed")) }
    };
    names.split(',').map(compared_program).collect()
}

/// Runs the benchmarks for the arguments: names of benchmarks, by default all; `--scale N`,
/// `--rounds N`, `--json FILE`, `--against PROGRAMS`.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let mut bench = Bench { scale: 20, rounds: 5, against: Vec::new(), program: None };
    let (mut named, mut json) = (Vec::new(), None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().copied().ok_or_else(|| format!("{word} needs a value"));
        let number = |value: &str| value.parse().map_err(|_| format!("{word} needs a number, not {value}"));
        match *word {
            "--scale" => bench.scale = number(value()?)?,
            "--rounds" => bench.rounds = number(value()?)? as usize,
            "--against" => bench.against = compared_programs(value()?)?,
            "--program" => bench.program = Some(PathBuf::from(value()?)),
            "--json" => json = Some(PathBuf::from(value()?)),
            name => match BENCHES.iter().find(|(known, _)| *known == name) {
                Some(found) => named.push(found),
                None => {
                    let known: Vec<_> = BENCHES.iter().map(|(known, _)| *known).collect();
                    return Err(format!("unknown benchmark \"{name}\"; expected one of {}", known.join(", ")));
                }
            },
        }
    }
    if bench.rounds == 0 || bench.scale == 0 {
        return Err("--rounds and --scale must be at least 1".to_owned());
    }
    if named.is_empty() {
        named.extend(&BENCHES);
    }
    let mut all = Vec::new();
    for (name, comparisons) in named {
        println!("==> {name}");
        all.extend(comparisons(&bench)?);
    }
    if let Some(path) = json {
        let text = comparison::to_json(&all);
        std::fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(())
}
