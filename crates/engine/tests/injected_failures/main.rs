//! The sweep of injected failures. Every call of a verb to a destination, to the dumped server and
//! to the restore target fails once in every way. After each failure, no backup is lost, no false
//! success is reported, and the next run succeeds and leaves nothing behind.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod env;
mod guarantees;
mod stage;
mod verb;
mod wal;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use longshore_testkit::injection::Fault;

use crate::env::{Contents, TestEnv};
use crate::guarantees::{Reference, classify, success_violations, violations};
use crate::verb::{Verb, VerbReport, clean_up};

/// The number of concurrent environments, which mostly wait for the clock, not for a processor.
const MAX_CONCURRENT: usize = 48;

/// The maximum duration of a verb by its own clock, which skips idle time: the stall timeout of 60
/// s, and the pauses between connection attempts.
const LIMIT: Duration = Duration::from_secs(300);

/// The real duration of one second of a verb's own clock, when the clock is advanced.
const TICK: Duration = Duration::from_millis(50);

/// The maximum real duration of a verb.
const WALL_LIMIT: Duration = Duration::from_secs(60);

/// Waits for the next second: backup names contain the second, so a job can run only once a second.
fn next_second() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    std::thread::sleep(Duration::from_millis(1050 - u64::from(now.subsec_millis())));
}

/// Runs work by a clock that skips idle time. The clock does not skip while a thread waits for a
/// stream, so it is advanced by one second every few milliseconds.
fn on_own_clock<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let (tick, mut ticks) = tokio::sync::mpsc::channel(1);
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let ticking = std::thread::spawn(move || {
        while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) && tick.blocking_send(()).is_ok() {}
    });
    let ticked = async {
        while ticks.recv().await.is_some() {
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        std::future::pending().await
    };
    let done = runtime.block_on(async {
        tokio::select! {
            done = work => done,
            () = ticked => unreachable!("the clock ends after the work"),
        }
    });
    drop((ticks, end));
    ticking.join().unwrap();
    done
}

/// Runs a verb without failures.
fn reference(verb: Verb, before: &Contents) -> Reference {
    let env = TestEnv::new(before);
    env.shared.injector.arm(None);
    let report = on_own_clock(verb.run(&env)).unwrap();
    assert!(report.success, "{verb:?}: {report:?}");
    let after = env.contents();
    assert!(verb.is_done(&env, &after), "{verb:?}: {report:?}");
    Reference { before: classify(before), after: classify(&after), calls: env.shared.injector.calls() }
}

/// Injects one fault into one call of a verb. Returns the violated guarantees; `None` if the call
/// was not made.
fn inject(verb: Verb, before: &Contents, reference: &Reference, number: usize, fault: Fault) -> Option<Vec<String>> {
    let env = TestEnv::new(before);
    let injector = env.shared.injector.clone();
    injector.arm(Some((number, fault)));
    let begun = Instant::now();
    let (report, took) = on_own_clock(async {
        let begun = tokio::time::Instant::now();
        let report = tokio::select! {
            report = tokio::time::timeout(4 * LIMIT, verb.run(&env)) => Some(report),
            () = injector.killed() => None,
        };
        (report, begun.elapsed())
    });
    if !injector.was_triggered() {
        return None;
    }
    let mut all = Vec::new();
    if took > LIMIT || begun.elapsed() > WALL_LIMIT || matches!(report, Some(Err(_))) {
        all.push(format!("it took {took:?}, and {:?} in real time", begun.elapsed()));
    }
    let report: Option<VerbReport> = report.and_then(Result::ok).and_then(Result::ok);
    if report.is_some() && fault.kills() {
        all.push("the verb continued after it was killed".to_owned());
    }
    all.extend(violations(verb, reference, &env, &env.contents(), report.as_ref()));
    if !env.is_scratch_empty() {
        all.push("the scratch server was not removed".to_owned());
    }

    // The next run starts from the leftovers.
    injector.arm(None);
    next_second();
    match on_own_clock(verb.run(&env)) {
        // The first release succeeded although it could not report that.
        Err(error) if verb == Verb::Release && error.kind() == longshore_core::Kind::Usage => {}
        Err(error) => all.push(format!("the next run fails: {}", error.chain())),
        Ok(again) => {
            let after = env.contents();
            all.extend(
                violations(verb, reference, &env, &after, Some(&again))
                    .into_iter()
                    .map(|violation| format!("next run: {violation}")),
            );
            if !again.success {
                all.push(format!("the next run reports no success: {}", again.text));
            }
            all.extend(success_violations(verb, reference, &env, &after, &classify(&after)));
        }
    }
    for _ in 0..2 {
        next_second();
        next_second();
        on_own_clock(clean_up(&env));
    }
    let found = classify(&env.contents());
    all.extend(found.orphans.iter().map(|name| format!("{name:?} is never removed")));
    all.extend(
        env.shared
            .stores
            .values()
            .flat_map(|store| store.leftover_names())
            .map(|left| format!("{left} is never removed")),
    );
    all.extend(env.temporary().iter().map(|path| format!("{} is never removed", path.display())));
    if let (false, Some(report)) = (all.is_empty(), &report) {
        all.push(format!("the verb reported: {}", report.text));
    }
    Some(all)
}

/// Returns true if a fault applies to a call. A hanging server or target is waited for, since a
/// dump takes any time and has no stall timeout.
fn fits(call: &str, fault: Fault) -> bool {
    !fault.hangs() || ["first ", "second "].iter().any(|store| call.starts_with(store))
}

/// Injects each fault into each call of a verb, or into every `step`-th, and prints the counts.
#[allow(clippy::print_stdout, reason = "the number of injections")]
fn sweep(verb: Verb, step: usize) {
    let before = on_own_clock(verb.before());
    let reference = reference(verb, &before);
    let all = reference.calls.iter().enumerate().flat_map(|(number, call)| {
        Fault::ALL.into_iter().filter(|fault| fits(call, *fault)).map(move |fault| (number, call, fault))
    });
    let all: Vec<_> = all.enumerate().filter(|(place, _)| place % step == 0).map(|(_, injection)| injection).collect();
    let queue = Mutex::new(all.iter());
    let ended = Mutex::new((0, BTreeMap::<String, Vec<String>>::new()));
    std::thread::scope(|scope| {
        for _ in 0..MAX_CONCURRENT {
            scope.spawn(|| {
                loop {
                    let Some((number, call, fault)) = queue.lock().unwrap().next() else { break };
                    let injected = AssertUnwindSafe(|| inject(verb, &before, &reference, *number, *fault));
                    let violations = catch_unwind(injected).unwrap_or_else(|_| Some(vec!["a panic".to_owned()]));
                    let mut ended = ended.lock().unwrap();
                    ended.0 += usize::from(violations.is_some());
                    if let Some(violations) = violations.filter(|violations| !violations.is_empty()) {
                        ended.1.insert(format!("{verb:?}: {fault:?} at call {number}, {call}"), violations);
                    }
                }
            });
        }
    });
    let (injected, violations) = ended.into_inner().unwrap();
    println!("{verb:?}: {} calls, {injected} injections, {} wrong", reference.calls.len(), violations.len());
    assert!(violations.is_empty(), "{} of {injected} injections:\n{violations:#?}", violations.len());
    assert!(injected * 10 >= all.len() * 9, "only {injected} of {} calls were made again", all.len());
}

#[test]
fn verbs_survive_sampled_failures() {
    // Sweeps each verb separately; the selected calls differ between verbs.
    for (verb, step) in Verb::ALL.into_iter().zip([31, 29, 23, 17, 7, 7, 13, 13]) {
        sweep(verb, step);
    }
}

#[test]
fn sync_ships_details_before_artifacts() {
    let calls = reference(Verb::Sync, &on_own_clock(Verb::Sync.before())).calls;
    let shipped = |suffix: &str| {
        let place = calls.iter().position(|call| call.starts_with("second ship main/app/") && call.ends_with(suffix));
        place.unwrap()
    };
    assert!(shipped(".details.json.xor") < shipped(".dump.xor"), "{calls:#?}");
}

mod slow {
    use super::*;

    #[test]
    fn run_survives_every_failure() {
        sweep(Verb::Run, 1);
    }

    #[test]
    fn prune_survives_every_failure() {
        sweep(Verb::Prune, 1);
    }

    #[test]
    fn sync_survives_every_failure() {
        sweep(Verb::Sync, 1);
    }

    #[test]
    fn verify_survives_every_failure() {
        sweep(Verb::Verify, 1);
    }

    #[test]
    fn hold_survives_every_failure() {
        sweep(Verb::Hold, 1);
        sweep(Verb::Release, 1);
    }

    #[test]
    fn restore_survives_every_failure() {
        sweep(Verb::Restore, 1);
    }

    #[test]
    fn drill_survives_every_failure() {
        sweep(Verb::Drill, 1);
    }
}
