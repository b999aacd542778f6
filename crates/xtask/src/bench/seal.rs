//! The cost of encryption and decryption alone, without a dump or a disk.

use super::bench_dir::BenchDir;
use super::comparison::{Comparison, compare};
use super::database::shell;
use super::{Bench, build_release};
use crate::{Result, setup};

pub(super) fn comparisons(bench: &Bench) -> Result<Vec<Comparison>> {
    setup::for_demo()?;
    let ours = build_release(&["--package", "longshore-encrypt-age", "--example", "age_stage"], "examples/age_stage")?;
    let ours = ours.display();
    let bench_dir = BenchDir::make()?;
    // 4 GiB at the default scale.
    let bytes = u64::from(bench.scale) * 214_748_365;
    let (recipient, identity) = (&bench_dir.recipient, bench_dir.path("identity.txt").display().to_string());
    // The input is one file in memory: a disk or a pipe would limit the speed.
    let file = format!("/dev/shm/longshore-bench-{}", std::process::id());
    let content = format!("head -c {bytes} /dev/zero");
    shell(&format!("{content} > {file}"))?;
    let mut sealers = vec![
        ("age -r", format!("age -r {recipient} < {file} > /dev/null")),
        ("longshore's stage", format!("{ours} seal {recipient} < {file} > /dev/null")),
    ];
    if bench.compares_with("rage") {
        sealers.push(("rage -r", format!("rage -r {recipient} < {file} > /dev/null")));
    }
    if bench.compares_with("gpg") {
        sealers.push(("gpg --encrypt", format!("{} < {file} > /dev/null", bench_dir.gpg()?)));
    }
    let sealing = compare("encryption", bench.rounds, bytes, &sealers);
    shell(&format!("{content} | age -r {recipient} > {file}"))?;
    let opening = compare(
        "decryption",
        bench.rounds,
        bytes,
        &[
            ("age -d", format!("age -d -i {identity} < {file} > /dev/null")),
            ("longshore's stage", format!("{ours} open {identity} < {file} > /dev/null")),
        ],
    );
    shell(&format!("rm -f {file}"))?;
    Ok(vec![sealing?, opening?])
}
