//! `cargo xtask bench`: Longshore's cost as a ratio to the alternatives of its users, measured in
//! one run on one machine.
//!
//! `--against restic,gpg` adds installed programs to the comparisons that support them.
//!
//! Contestants take turns in each round, so that other load on the machine affects all of them. The
//! medians are compared.

mod contest;
mod database;
mod list;
mod restore;
mod retention;
mod run;
mod seal;
mod ship;
mod site;
mod small;
mod verify;

use std::path::{Path, PathBuf};

use crate::Result;
use crate::step::{cargo, step};
use contest::Contest;
pub(crate) use contest::measure;

/// The function of a benchmark.
type Measure = fn(&Bench) -> Result<Vec<Contest>>;

/// The benchmarks by name.
const BENCHES: [(&str, Measure); 8] = [
    ("run", run::contests),
    ("verify", verify::contests),
    ("seal", seal::contests),
    ("ship", ship::contests),
    ("small", small::contests),
    ("restore", restore::contests),
    ("list", list::contests),
    ("retention", retention::contests),
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
}

/// The programs that can be added to a comparison.
const RIVALS: [&str; 3] = ["restic", "gpg", "rage"];

impl Bench {
    /// Returns true if a program was added to the comparison.
    fn asks(&self, program: &str) -> bool {
        self.against.contains(&program)
    }

    /// Builds Longshore as a release and returns its path.
    fn longshore(&self) -> Result<PathBuf> {
        built(&["--package", "longshore"], "longshore")
    }
}

/// Builds a program as a release and returns its path.
fn built(what: &[&str], place: &str) -> Result<PathBuf> {
    let heading = format!("cargo build --release {}", what.join(" "));
    step(&heading, cargo().args(["build", "--quiet", "--release"]).args(what))?;
    let told = cargo().args(["metadata", "--no-deps", "--format-version", "1"]).output();
    let told = told.map_err(|error| format!("cargo metadata: {error}"))?;
    let told: serde_json::Value =
        serde_json::from_slice(&told.stdout).map_err(|error| format!("cargo metadata: {error}"))?;
    let target = told["target_directory"].as_str().ok_or("cargo metadata: no target_directory")?;
    let built = Path::new(target).join("release").join(place);
    built.canonicalize().map_err(|error| format!("cannot find the program {}: {error}", built.display()))
}

/// Parses names separated by commas. Fails if a program is unknown or not installed.
fn rivals(names: &str) -> Result<Vec<&'static str>> {
    let rival = |name: &str| {
        let known = RIVALS.into_iter().find(|known| *known == name);
        let known =
            known.ok_or_else(|| format!("--against {name}: unknown program; expected one of {}", RIVALS.join(", ")))?;
        let installed = database::shell(&format!("command -v {known} > /dev/null")).is_ok();
        if installed { Ok(known) } else { Err(format!("--against {known}: not installed")) }
    };
    names.split(',').map(rival).collect()
}

/// Runs the benchmarks for the arguments: names of benchmarks, by default all; `--scale N`,
/// `--rounds N`, `--json FILE`, `--against PROGRAMS`.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let mut bench = Bench { scale: 20, rounds: 5, against: Vec::new() };
    let (mut named, mut json) = (Vec::new(), None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().copied().ok_or_else(|| format!("{word} needs a value"));
        let number = |value: &str| value.parse().map_err(|_| format!("{word} needs a number, not {value}"));
        match *word {
            "--scale" => bench.scale = number(value()?)?,
            "--rounds" => bench.rounds = number(value()?)? as usize,
            "--against" => bench.against = rivals(value()?)?,
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
    for (name, contests) in named {
        println!("==> {name}");
        all.extend(contests(&bench)?);
    }
    if let Some(path) = json {
        let text = contest::to_json(&all);
        std::fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(())
}
