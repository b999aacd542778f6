//! A process with little memory and time.

use std::env;
use std::process::Command;

use crate::hostile::excessive_requests::Case;

/// The variable that is set in the limited process.
const INSIDE: &str = "LONGSHORE_TEST_LIMITED";

/// Reads archives in a separate process with `mebibytes` of memory. Each must fail with a short
/// error. The process is this program again, which runs only the calling test, by its path within
/// the program.
pub(crate) fn read_all(test: &str, mebibytes: u64, cases: impl FnOnce() -> Vec<Case>) {
    if env::var_os(INSIDE).is_some() {
        return read_here(cases());
    }
    let mut prlimit = Command::new("prlimit");
    // Processor time rather than elapsed time, since the machine may be busy.
    prlimit.args([format!("--as={}", mebibytes << 20), "--cpu=120".to_owned(), "--core=0".to_owned()]);
    prlimit.arg("--").arg(env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]);
    // Each thread would reserve address space for its own heap.
    prlimit.env("MALLOC_ARENA_MAX", "1").env(INSIDE, "yes");
    let output = prlimit.output().unwrap();
    let texts = [output.stdout, output.stderr].map(|texts| String::from_utf8_lossy(&texts).into_owned());
    assert!(output.status.success(), "{}:\n{}\n{}", output.status, texts[0], texts[1]);
    assert!(texts[0].contains("test result: ok. 1 passed"), "{test} is not the path of a test: {}", texts[0]);
    println!("{}", texts[0]);
}

fn read_here(cases: Vec<Case>) {
    let mut long_errors = Vec::new();
    for (what, archive) in cases {
        println!("{what}:");
        let started = std::time::Instant::now();
        let error = longshore_pg_archive::read(archive, &mut |_| {}).expect_err(what).to_string();
        println!("  {} ({:?})", error.chars().take(200).collect::<String>(), started.elapsed());
        if error.len() > 2000 {
            long_errors.push(format!(
                "{what}: {} bytes, {}...",
                error.len(),
                error.chars().take(100).collect::<String>()
            ));
        }
    }
    assert!(long_errors.is_empty(), "errors that are too long:\n{}", long_errors.join("\n"));
}
