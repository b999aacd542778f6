//! The cost of encryption and decryption alone, without a dump or a disk.

use super::contest::{Contest, contest};
use super::database::shell;
use super::site::Site;
use super::{Bench, built};
use crate::{Result, setup};

pub(super) fn contests(bench: &Bench) -> Result<Vec<Contest>> {
    setup::for_demo()?;
    let ours = built(&["--package", "longshore-encrypt-age", "--example", "age_stage"], "examples/age_stage")?;
    let ours = ours.display();
    let site = Site::make()?;
    // 4 GiB at the default scale.
    let bytes = u64::from(bench.scale) * 214_748_365;
    let (recipient, identity) = (&site.recipient, site.path("identity.txt").display().to_string());
    // The input is one file in memory: a disk or a pipe would limit the speed.
    let file = format!("/dev/shm/longshore-bench-{}", std::process::id());
    let content = format!("head -c {bytes} /dev/zero");
    shell(&format!("{content} > {file}"))?;
    let mut sealers = vec![
        ("age -r", format!("age -r {recipient} < {file} > /dev/null")),
        ("longshore's stage", format!("{ours} seal {recipient} < {file} > /dev/null")),
    ];
    if bench.asks("rage") {
        sealers.push(("rage -r", format!("rage -r {recipient} < {file} > /dev/null")));
    }
    if bench.asks("gpg") {
        sealers.push(("gpg --encrypt", format!("{} < {file} > /dev/null", site.gpg()?)));
    }
    let sealing = contest("encryption", bench.rounds, bytes, &sealers);
    shell(&format!("{content} | age -r {recipient} > {file}"))?;
    let opening = contest(
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
