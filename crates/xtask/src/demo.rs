//! `cargo xtask demo`: a day of backups on temporary clusters, from the first command to a restored
//! cluster. The demo prints each command as a user would type it, runs it in a shell, and shows its
//! output.

mod shell;

use longshore_testkit::cluster::{Cluster, fingerprint, globals};
use longshore_testkit::sample;

use crate::step::{cargo, step};
use crate::{Result, setup};
use shell::Shell;

/// The number of rows in the main table of each sample database: enough for realistic sizes, and
/// few enough to be quick.
const ROWS: u32 = 20_000;

/// Backs up the sample databases to two destinations, restores them into a second cluster, and
/// compares.
pub(crate) fn run() -> Result<()> {
    let installation = setup::for_demo()?;
    // A release build takes minutes longer, and the slow parts of a backup are optimised in a debug
    // build as well.
    step("cargo build --package longshore", cargo().args(["build", "--quiet", "--package", "longshore"]))?;
    println!("==> start a cluster with {} databases, and an empty cluster for restores", sample::databases(0).len());
    let source = Cluster::start(&installation, &[]);
    sample::load(&source, ROWS);
    let copy = Cluster::start(&installation, &[]);
    let shell = Shell::new(&installation)?;
    backups(&shell, &source)?;
    restore(&shell, &source, &copy)?;
    drill(&shell)?;
    list_files(&shell)?;
    println!("\nThe demo has removed its clusters and files.");
    Ok(())
}

fn backups(shell: &Shell, source: &Cluster) -> Result<()> {
    shell.say(
        "Create a configuration with one destination, and an identity. A second destination takes three more lines.",
    );
    let connection = source.connection();
    shell.run(&format!("longshore --config longshore.toml init --connection '{connection}' --destination first"))?;
    shell.run("mkdir second; sed -i 's/^ship = .*/ship = [\"local\", \"second\"]/' longshore.toml")?;
    shell
        .run("printf '\\n[destination.second]\\ntype = \"local\"\\npath = \"%s\"\\n' $PWD/second >> longshore.toml")?;
    shell.run("cat longshore.toml")?;
    shell.say("Check everything that a run needs.");
    shell.run("longshore --config longshore.toml check")?;
    shell.say("Run a backup: each database is read once, and the encrypted backup is written to both destinations.");
    shell.run("longshore --config longshore.toml run nightly")?;
    shell.run("longshore --config longshore.toml list")?;
    shell.say("Verify all backups: each artifact is read, decrypted and decoded completely.");
    shell.run("longshore --config longshore.toml verify --all --identity identity.txt")?;
    shell.say("Show which backups the retention policy would remove, and why it keeps the others.");
    shell.run("longshore --config longshore.toml prune --dry-run")
}

fn restore(shell: &Shell, source: &Cluster, copy: &Cluster) -> Result<()> {
    shell.say("Restore the whole run into the empty cluster.");
    let connection = copy.connection();
    shell.run(&format!(
        "longshore --config longshore.toml restore --run latest --to '{connection}' --create --identity identity.txt"
    ))?;
    shell.say("Compare the clusters: schemas, a digest of all rows, sequences, large objects and roles.");
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
        names => Err(format!("the restored cluster differs from the source: {}", names.join(", "))),
    }
}

fn drill(shell: &Shell) -> Result<()> {
    shell.say(
        "Run a drill: restore into a temporary cluster, compare with the recorded counts, and remove the cluster.",
    );
    shell.run("longshore --config longshore.toml drill nightly --identity identity.txt")?;
    shell.say("Show how much data would be lost now, and how long a restore would take.");
    shell.run("longshore --config longshore.toml status")
}

fn list_files(shell: &Shell) -> Result<()> {
    shell.say("List the files in the destinations, with their sizes in bytes.");
    shell.run("find first second -type f -printf '%9s  %p\\n' | sort -k 2")?;
    shell.say("Read any file without Longshore.");
    shell
        .run("jq -c '{time, subject, verified, sealed: .artifact.sealed}' first/*/shop/shop-????-??-??_??????.json")?;
    shell.run("age -d -i identity.txt first/*/shop/*.dump.zst.age | zstd -d | pg_restore --list | head -n 20")
}
