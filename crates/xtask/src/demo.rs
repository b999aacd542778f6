//! `cargo xtask demo`: a day of backups on throwaway clusters, from the first command to a restored cluster. Each command is
//! printed as a person would type it, run by a shell, and followed by what it writes.

mod shell;

use longshore_testkit::cluster::{Cluster, fingerprint, globals};
use longshore_testkit::sample;

use crate::step::{cargo, step};
use crate::{Result, setup};
use shell::Shell;

/// How many rows the main table of each sample database gets: enough to see sizes, little enough to be quick.
const ROWS: u32 = 20_000;

/// Backs the sample databases up to two destinations, restores them into a second cluster, and compares.
pub(crate) fn run() -> Result<()> {
    let installation = setup::for_demo()?;
    // A debug build: a release build takes minutes longer, and what is slow in a backup is optimised in both.
    step("cargo build --package longshore", cargo().args(["build", "--quiet", "--package", "longshore"]))?;
    println!("==> a cluster with {} databases, and an empty one to restore into", sample::databases(0).len());
    let source = Cluster::start(&installation, &[]);
    sample::load(&source, ROWS);
    let copy = Cluster::start(&installation, &[]);
    let shell = Shell::new(&installation)?;
    backups(&shell, &source)?;
    restore(&shell, &source, &copy)?;
    prove(&shell)?;
    what_lies_there(&shell)?;
    println!("\nThe demo's clusters and files are gone now.");
    Ok(())
}

fn backups(shell: &Shell, source: &Cluster) -> Result<()> {
    shell.say("A configuration and an identity, for one destination; a second one is three lines more.");
    let connection = source.connection();
    shell.run(&format!("longshore --config longshore.toml init --connection '{connection}' --destination first"))?;
    shell.run("mkdir second; sed -i 's/^ship = .*/ship = [\"local\", \"second\"]/' longshore.toml")?;
    shell
        .run("printf '\\n[destination.second]\\ntype = \"local\"\\npath = \"%s\"\\n' $PWD/second >> longshore.toml")?;
    shell.run("cat longshore.toml")?;
    shell.say("Everything that would fail at night, now.");
    shell.run("longshore --config longshore.toml check")?;
    shell.say("One run: each database is read once, and its sealed bytes go to both destinations.");
    shell.run("longshore --config longshore.toml run nightly")?;
    shell.run("longshore --config longshore.toml list")?;
    shell.say("Each artifact is fetched, opened and decoded to its end.");
    shell.run("longshore --config longshore.toml verify --all --identity identity.txt")?;
    shell.say("What the retention policy would remove, and why the rest is kept.");
    shell.run("longshore --config longshore.toml prune --dry-run")
}

fn restore(shell: &Shell, source: &Cluster, copy: &Cluster) -> Result<()> {
    shell.say("The whole run, into the empty cluster.");
    let connection = copy.connection();
    shell.run(&format!(
        "longshore --config longshore.toml restore --run latest --to '{connection}' --create --identity identity.txt"
    ))?;
    shell.say("Is it the same? Schemas, a digest of all rows, sequences, large objects and roles are compared.");
    let mut differing = Vec::new();
    let mut compare = |name: &str, of: &dyn Fn(&Cluster) -> String| {
        let (original, restored) = (of(source), of(copy));
        let word = if original == restored { "equal" } else { "DIFFERENT" };
        println!("{word}: {name} ({} lines)", original.lines().count());
        if original != restored {
            differing.push(name.to_owned());
        }
    };
    compare("roles", &globals);
    for (name, _) in sample::databases(0) {
        compare(name, &|cluster| fingerprint(cluster, name));
    }
    match differing.as_slice() {
        [] => Ok(()),
        names => Err(format!("what was restored differs from what was backed up: {}", names.join(", "))),
    }
}

fn prove(shell: &Shell) -> Result<()> {
    shell.say(
        "The same as a drill: restored into a cluster made for it, held against what was recorded, and gone again.",
    );
    shell.run("longshore --config longshore.toml drill nightly --identity identity.txt")?;
    shell.say("How much would be lost now, and how long would it take to have it back?");
    shell.run("longshore --config longshore.toml status")
}

fn what_lies_there(shell: &Shell) -> Result<()> {
    shell.say("What lies in the destinations, in bytes.");
    shell.run("find first second -type f -printf '%9s  %p\\n' | sort -k 2")?;
    shell.say("Any file can be undone without Longshore.");
    shell
        .run("jq -c '{time, subject, verified, sealed: .artifact.sealed}' first/*/shop/shop-????-??-??_??????.json")?;
    shell.run("age -d -i identity.txt first/*/shop/*.dump.zst.age | zstd -d | pg_restore --list | head -n 20")
}
