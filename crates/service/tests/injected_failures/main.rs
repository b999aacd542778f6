//! The sweep of injected failures. Every call of a verb to a destination, to the dumped server and
//! to the restore target fails once in every way. After each failure, no backup is lost, no false
//! success is reported, and the next run succeeds and leaves nothing behind.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod judge;
mod stage;
mod verb;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use longshore_testkit::injection::Fault;

use crate::judge::{Reference, find, promises, wrong};
use crate::verb::{Told, Verb, clean_up};
use crate::world::{Contents, World};

/// The number of concurrent worlds. Worlds mostly wait for the clock, not for a processor.
const AT_ONCE: usize = 48;

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
    let ticking = std::thread::spawn(move || {
        while tick.blocking_send(()).is_ok() {
            std::thread::sleep(TICK);
        }
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
    drop(ticks);
    ticking.join().unwrap();
    done
}

/// Runs a verb without failures.
fn reference(verb: Verb, before: &Contents) -> Reference {
    let world = World::new(before);
    world.shared.injector.arm(None);
    let told = on_own_clock(verb.act(&world)).unwrap();
    assert!(told.success, "{verb:?}: {told:?}");
    let after = world.contents();
    assert!(verb.is_done(&world, &after), "{verb:?}: {told:?}");
    Reference { before: find(before), after: find(&after), calls: world.shared.injector.calls() }
}

/// Injects one fault into one call of a verb. Returns the violated guarantees; `None` if the call
/// was not made.
fn inject(verb: Verb, before: &Contents, reference: &Reference, number: usize, fault: Fault) -> Option<Vec<String>> {
    let world = World::new(before);
    let injector = world.shared.injector.clone();
    injector.arm(Some((number, fault)));
    let begun = Instant::now();
    let (told, took) = on_own_clock(async {
        let begun = tokio::time::Instant::now();
        let told = tokio::select! {
            told = tokio::time::timeout(4 * LIMIT, verb.act(&world)) => Some(told),
            () = injector.killed() => None,
        };
        (told, begun.elapsed())
    });
    if !injector.met() {
        return None;
    }
    let mut all = Vec::new();
    if took > LIMIT || begun.elapsed() > WALL_LIMIT || matches!(told, Some(Err(_))) {
        all.push(format!("it took {took:?}, and {:?} in real time", begun.elapsed()));
    }
    let told: Option<Told> = told.and_then(Result::ok).and_then(Result::ok);
    if told.is_some() && fault.kills() {
        all.push("the verb continued after it was killed".to_owned());
    }
    all.extend(wrong(verb, reference, &world, &world.contents(), told.as_ref()));
    if !world.is_scratch_empty() {
        all.push("the scratch server was not removed".to_owned());
    }

    // The next run starts from the leftovers.
    injector.arm(None);
    next_second();
    match on_own_clock(verb.act(&world)) {
        // The first release succeeded although it could not report that.
        Err(error) if verb == Verb::Release && error.kind() == longshore_core::Kind::Usage => {}
        Err(error) => all.push(format!("the next run fails: {}", error.chain())),
        Ok(again) => {
            let after = world.contents();
            all.extend(
                wrong(verb, reference, &world, &after, Some(&again))
                    .into_iter()
                    .map(|wrong| format!("next run: {wrong}")),
            );
            if !again.success {
                all.push(format!("the next run reports no success: {}", again.words));
            }
            all.extend(promises(verb, reference, &world, &after, &find(&after)));
        }
    }
    for _ in 0..2 {
        next_second();
        next_second();
        on_own_clock(clean_up(&world));
    }
    let found = find(&world.contents());
    all.extend(found.loose.iter().map(|name| format!("{name:?} is never removed")));
    all.extend(
        world.shared.stores.values().flat_map(|store| store.left()).map(|left| format!("{left} is never removed")),
    );
    all.extend(world.temporary().iter().map(|path| format!("{} is never removed", path.display())));
    if let (false, Some(told)) = (all.is_empty(), &told) {
        all.push(format!("the verb reported: {}", told.words));
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
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some((number, call, fault)) = queue.lock().unwrap().next() else { break };
                    let injected = AssertUnwindSafe(|| inject(verb, &before, &reference, *number, *fault));
                    let wrong = catch_unwind(injected).unwrap_or_else(|_| Some(vec!["a panic".to_owned()]));
                    let mut ended = ended.lock().unwrap();
                    ended.0 += usize::from(wrong.is_some());
                    if let Some(wrong) = wrong.filter(|wrong| !wrong.is_empty()) {
                        ended.1.insert(format!("{verb:?}: {fault:?} at call {number}, {call}"), wrong);
                    }
                }
            });
        }
    });
    let (injected, wrong) = ended.into_inner().unwrap();
    println!("{verb:?}: {} calls, {injected} injections, {} wrong", reference.calls.len(), wrong.len());
    assert!(wrong.is_empty(), "{} of {injected} injections:\n{wrong:#?}", wrong.len());
    assert!(injected * 10 >= all.len() * 9, "only {injected} of {} calls were made again", all.len());
}

#[test]
fn one_in_many_injected_failures_costs_nothing() {
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
    fn injected_failures_of_a_run_cost_nothing() {
        sweep(Verb::Run, 1);
    }

    #[test]
    fn injected_failures_of_a_prune_cost_nothing() {
        sweep(Verb::Prune, 1);
    }

    #[test]
    fn injected_failures_of_a_sync_cost_nothing() {
        sweep(Verb::Sync, 1);
    }

    #[test]
    fn injected_failures_of_a_verify_cost_nothing() {
        sweep(Verb::Verify, 1);
    }

    #[test]
    fn injected_failures_of_a_hold_cost_nothing() {
        sweep(Verb::Hold, 1);
        sweep(Verb::Release, 1);
    }

    #[test]
    fn injected_failures_of_a_restore_cost_nothing() {
        sweep(Verb::Restore, 1);
    }

    #[test]
    fn injected_failures_of_a_drill_cost_nothing() {
        sweep(Verb::Drill, 1);
    }
}
