//! Every file can be undone with stock tools: the README's own commands, run as they stand there.

use std::process::Command;

use longshore_testkit::cluster::{Cluster, Installation, contents, globals};
use longshore_testkit::sample;

use crate::support::{Workshop, files, finish};

/// The shell commands beneath a heading of the README.
fn commands(heading: &str) -> String {
    let readme = include_str!("../README.md");
    let (_, section) = readme.split_once(&format!("\n{heading}\n")).expect("the README has the heading");
    let (_, block) = section.split_once("```sh\n").expect("commands follow it");
    block.split_once("\n```").expect("they end").0.to_owned()
}

#[test]
fn the_readmes_commands_bring_a_cluster_back() {
    let workshop = Workshop::new();
    sample::load(&workshop.cluster, 100);
    workshop.longshore(&["run"]).expect(0);
    let target = Cluster::start(&Installation::system(), &[]);
    let script = commands("## Undo a file by hand");
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", &script]).current_dir(workshop.local());
    shell.env("PGHOST", target.connection().split_whitespace().next().unwrap().trim_start_matches("host="));
    shell.env("PGPORT", target.port().to_string()).env("PGUSER", "postgres");
    shell.env("IDENTITY", workshop.identity()).env("CLUSTER", "main").env("DATABASE", "shop");
    finish(&mut shell).expect(0).says("OK");
    assert_eq!(globals(&target), globals(&workshop.cluster));
    assert_eq!(contents(&target, "shop"), contents(&workshop.cluster, "shop"));
}

#[test]
fn age_zstd_and_pg_restore_open_what_we_wrote() {
    let workshop = Workshop::new();
    sample::load(&workshop.cluster, 100);
    workshop.longshore(&["run"]).expect(0);
    for file in files(&workshop.local()).iter().filter(|file| file.ends_with(".dump.zst.age")) {
        let script = "age -d -i \"$0\" \"$1\" | zstd -dq | \"$2/pg_restore\" --file=/dev/null";
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", script]).arg(workshop.identity()).arg(workshop.local().join(file));
        finish(shell.arg(workshop.cluster.bin_dir())).expect(0);
    }
}
