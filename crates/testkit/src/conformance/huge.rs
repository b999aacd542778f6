//! A body beyond all known limits: 32-bit counters, and S3's limits for uploads and copies in one
//! request.

use std::fs;
use std::time::{Duration, Instant};

use longshore_core::Kind;

use super::{Fixture, key};
use crate::stream::{expect_patterned, patterned};

/// S3's limit for uploads and copies in one request, in bytes, which also exceeds 32 bits.
const S3_PIECE_BYTES: u64 = 5 << 30;

/// The default size of a huge body, in bytes: beyond all known limits.
pub const HUGE_BYTES: u64 = S3_PIECE_BYTES + (100 << 20) + 17;

/// The limit for resident memory during the transfer of a huge body.
const LIMIT_KIB: u64 = 256 << 10;

/// The time limit for uploading and reading a huge body: many times the usual duration.
pub const HUGE_TIME_LIMIT: Duration = Duration::from_secs(30 * 60);

/// The size of a body that is larger than the memory limit.
const LARGER_BYTES: u64 = 320 << 20;

/// Proves in seconds that memory does not grow with a body. It does not test sizes beyond 32 bits.
pub async fn stores_bodies_larger_than_its_memory(fixture: &Fixture) {
    round_trip(fixture, LARGER_BYTES.min(fixture.scale.huge_bytes)).await;
}

/// The body is uploaded and read completely, in memory that does not grow with its size. Ranges
/// beyond 32 bits can be read as well.
///
/// The body is deleted afterwards. Until then it takes its size on disk, or twice its size in a
/// destination with a spool.
pub async fn stores_huge_bodies_in_little_memory(fixture: &Fixture) {
    round_trip(fixture, fixture.scale.huge_bytes).await;
}

/// Uploads a body, reads it completely and in ranges, deletes it, and checks the use of memory.
#[allow(clippy::print_stdout)] // for runners that show the output
async fn round_trip(fixture: &Fixture, length: u64) {
    let key = key("huge/appdb.dump");
    // Resets the peak, if the kernel supports it. Otherwise the earlier peak counts.
    fs::write("/proc/self/clear_refs", "5").ok();
    let begun = Instant::now();
    fixture.ship.ship(&key, patterned(length)).await.unwrap();
    let upload_time = begun.elapsed();
    assert_eq!(fixture.list("huge").await, [(key.to_string(), length)]);
    // Compares each byte: a digest would reveal less and take longer.
    let whole = fixture.store.fetch(&key, None).await.unwrap();
    assert_eq!(expect_patterned(0, whole).await.unwrap(), length);
    let download_time = begun.elapsed() - upload_time;
    // The ranges are at the limits of 32 bits, if the body is long enough, at its middle, and at
    // its end.
    for at in [1 << 31, 1 << 32, length / 2, length].into_iter().filter(|at| *at <= length) {
        let range = at - 100..(at + 100).min(length);
        let ranged = fixture.store.fetch(&key, Some(range.clone())).await.unwrap();
        assert_eq!(expect_patterned(range.start, ranged).await.unwrap(), range.end - range.start, "{range:?}");
    }
    let error = fixture.ship.ship(&key, patterned(1000)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists, "{}", error.chain());
    fixture.store.remove(&key).await.unwrap();
    fixture.assert_missing(&key).await;
    let peak = peak_kib();
    // Printed by `cargo nextest run --success-output final`.
    println!("{length} bytes: uploaded in {upload_time:.1?}, read in {download_time:.1?}, peak memory {peak} KiB");
    assert!(peak < LIMIT_KIB, "{peak} KiB");
}

/// Returns the peak memory of this process so far.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let high = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    high.trim().trim_end_matches(" kB").parse().unwrap()
}
