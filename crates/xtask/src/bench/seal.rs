//! What it costs to seal and to open, without a dump before it or a disk behind it.

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
    // 4 GiB at the usual scale.
    let bytes = u64::from(bench.scale) * 214_748_365;
    let (recipient, identity) = (&site.recipient, site.path("identity.txt").display().to_string());
    // In memory, where there is room: a disk would be all that is measured.
    let sealed = format!("/dev/shm/longshore-bench-{}.age", std::process::id());
    let content = format!("head -c {bytes} /dev/zero");
    shell(&format!("{content} | age -r {recipient} > {sealed}"))?;
    let sealing = contest(
        "sealing",
        bench.rounds,
        bytes,
        &[
            ("age -r", format!("{content} | age -r {recipient} > /dev/null")),
            ("longshore's stage", format!("{content} | {ours} seal {recipient} > /dev/null")),
        ],
    );
    let opening = contest(
        "opening",
        bench.rounds,
        bytes,
        &[
            ("age -d", format!("age -d -i {identity} < {sealed} > /dev/null")),
            ("longshore's stage", format!("{ours} open {identity} < {sealed} > /dev/null")),
        ],
    );
    shell(&format!("rm -f {sealed}"))?;
    Ok(vec![sealing?, opening?])
}
