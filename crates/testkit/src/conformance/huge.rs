//! A body past every limit that is known: what 32 bits count, and what S3 takes or copies in one piece.

use std::fs;
use std::time::{Duration, Instant};

use longshore_core::Kind;

use super::{Fixture, key};
use crate::stream::{expect_patterned, patterned};

/// What S3 takes in one piece, and copies in one piece; also past what 32 bits count.
const S3_PIECE_BYTES: u64 = 5 << 30;

/// The size of a huge body where nothing else is said: past every limit that is known.
pub const HUGE_BYTES: u64 = S3_PIECE_BYTES + (100 << 20) + 17;

/// The most resident memory that may be taken while a huge body passes.
const LIMIT_KIB: u64 = 256 << 10;

/// How long a huge body may take, there and back: many times as long as it does.
pub const HUGE_PATIENCE: Duration = Duration::from_secs(30 * 60);

/// The size of a body that is larger than the memory it may take.
const LARGER_BYTES: u64 = 320 << 20;

/// Proves in seconds that memory does not grow with a body, there and back; what lies past 32 bits it cannot prove.
pub async fn a_body_larger_than_its_memory_arrives_whole(fixture: &Fixture) {
    pass(fixture, LARGER_BYTES.min(fixture.scale.huge_bytes)).await;
}

/// Every byte of it, there and back, in memory that does not grow with it; so does any range of it, past where 32 bits end, too.
///
/// It is removed again. Until then it needs as much disk as it is long, and twice that where it is spooled.
pub async fn a_body_past_every_limit_arrives_whole_in_little_memory(fixture: &Fixture) {
    pass(fixture, fixture.scale.huge_bytes).await;
}

/// Sends a body of this length there and back, whole and in ranges, removes it, and checks the memory that it took.
#[allow(clippy::print_stdout)] // for whoever asks the runner of tests for it
async fn pass(fixture: &Fixture, length: u64) {
    let key = key("huge/appdb.dump");
    // The peak so far is forgotten; where the kernel does not do that, it counts.
    fs::write("/proc/self/clear_refs", "5").ok();
    let begun = Instant::now();
    fixture.ship.ship(&key, patterned(length)).await.unwrap();
    let shipped = begun.elapsed();
    assert_eq!(fixture.listed("huge").await, [(key.to_string(), length)]);
    // Each byte is looked at: a digest would tell less and take longer.
    let whole = fixture.store.fetch(&key, None).await.unwrap();
    assert_eq!(expect_patterned(0, whole).await.unwrap(), length);
    let fetched = begun.elapsed() - shipped;
    // What 32 bits count to, wherever the body reaches so far; its middle; its end.
    for at in [1 << 31, 1 << 32, length / 2, length].into_iter().filter(|at| *at <= length) {
        let range = at - 100..(at + 100).min(length);
        let ranged = fixture.store.fetch(&key, Some(range.clone())).await.unwrap();
        assert_eq!(expect_patterned(range.start, ranged).await.unwrap(), range.end - range.start, "{range:?}");
    }
    let error = fixture.ship.ship(&key, patterned(1000)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists, "{}", error.chain());
    fixture.store.remove(&key).await.unwrap();
    fixture.assert_nothing(&key).await;
    let peak = peak_kib();
    // `cargo nextest run --success-output final` shows it of those that pass.
    println!("{length} bytes: {shipped:.1?} there, {fetched:.1?} back, {peak} KiB of memory at most");
    assert!(peak < LIMIT_KIB, "{peak} KiB");
}

/// The most memory that this process has taken so far.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let high = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    high.trim().trim_end_matches(" kB").parse().unwrap()
}
