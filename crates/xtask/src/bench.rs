//! `cargo xtask bench`: what Longshore costs, as a ratio against what a user would run instead, in one run on one machine.
//!
//! `--against restic,gpg` has programs that are installed take part, where a bench knows how to use them.
//!
//! Contestants take turns, round after round, so that whatever else the machine does falls on all of them; medians are compared.

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

/// Measures one thing.
type Measure = fn(&Bench) -> Result<Vec<Contest>>;

/// What can be measured, by the word for it.
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

/// What is measured, and how.
pub(crate) struct Bench {
    /// The scale of pgbench's tables; the others are in proportion. 10 makes a database of some 600 MB, or 5,000 backups.
    scale: u32,
    /// How often each contestant runs.
    rounds: usize,
    /// Which programs take part beside those that always do.
    against: Vec<&'static str>,
}

/// The programs that can be asked to take part.
const RIVALS: [&str; 3] = ["restic", "gpg", "rage"];

impl Bench {
    /// Whether a program was asked to take part.
    fn asks(&self, program: &str) -> bool {
        self.against.contains(&program)
    }

    /// The program, as users have it.
    fn longshore(&self) -> Result<PathBuf> {
        built(&["--package", "longshore"], "longshore")
    }
}

/// Builds a program as users have it, and tells where it is.
fn built(what: &[&str], place: &str) -> Result<PathBuf> {
    let heading = format!("cargo build --release {}", what.join(" "));
    step(&heading, cargo().args(["build", "--quiet", "--release"]).args(what))?;
    let told = cargo().args(["metadata", "--no-deps", "--format-version", "1"]).output();
    let told = told.map_err(|error| format!("cargo metadata: {error}"))?;
    let told: serde_json::Value =
        serde_json::from_slice(&told.stdout).map_err(|error| format!("cargo metadata: {error}"))?;
    let target = told["target_directory"].as_str().ok_or("cargo metadata names no target_directory")?;
    let built = Path::new(target).join("release").join(place);
    built.canonicalize().map_err(|error| format!("no program at {}: {error}", built.display()))
}

/// Those of the programs named, by commas, that are known and installed; any other is an error.
fn rivals(names: &str) -> Result<Vec<&'static str>> {
    let rival = |name: &str| {
        let known = RIVALS.into_iter().find(|known| *known == name);
        let known = known.ok_or_else(|| format!("--against {name}: there are {}", RIVALS.join(", ")))?;
        let installed = database::shell(&format!("command -v {known} > /dev/null")).is_ok();
        if installed { Ok(known) } else { Err(format!("--against {known}: it is not installed")) }
    };
    names.split(',').map(rival).collect()
}

/// Measures what the words ask for: names of benches, or all; `--scale N`, `--rounds N`, `--json FILE`, `--against PROGRAMS`.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let mut bench = Bench { scale: 20, rounds: 5, against: Vec::new() };
    let (mut named, mut json) = (Vec::new(), None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().copied().ok_or_else(|| format!("{word} wants a value"));
        let number = |value: &str| value.parse().map_err(|_| format!("{word} wants a number, not {value}"));
        match *word {
            "--scale" => bench.scale = number(value()?)?,
            "--rounds" => bench.rounds = number(value()?)? as usize,
            "--against" => bench.against = rivals(value()?)?,
            "--json" => json = Some(PathBuf::from(value()?)),
            name => match BENCHES.iter().find(|(known, _)| *known == name) {
                Some(found) => named.push(found),
                None => {
                    let known: Vec<_> = BENCHES.iter().map(|(known, _)| *known).collect();
                    return Err(format!("there is no bench \"{name}\"; there are: {}", known.join(", ")));
                }
            },
        }
    }
    if bench.rounds == 0 || bench.scale == 0 {
        return Err("--rounds and --scale want at least 1".to_owned());
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
