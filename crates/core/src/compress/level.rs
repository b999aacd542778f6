//! The compression level of zstd: fixed, or as high as possible without delaying the dump.

use std::time::Duration;

/// zstd's default level, at which an adaptive level begins.
const FIRST: i32 = 3;
/// The bounds of an adaptive level. Below them, a dump is larger than with gzip; above them, the
/// cost rises for little gain.
const BOUNDS: (i32, i32) = (1, 7);
/// The number of bytes between two decisions about the level.
const PERIOD_BYTES: u64 = 16 << 20;
/// The number of output chunks over which waits are averaged with decreasing weight. A destination
/// accepts many chunks at once (a disk 32 MiB, a bucket one part) and then none for a long time.
const BURST_CHUNKS: u64 = 256;

/// The compression level of zstd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// A fixed level from 1 to 19.
    Fixed(i32),
    /// A level from 1 to 7, beginning at 3: lower if compression delays the dump, higher if a
    /// destination does.
    Adaptive,
}

/// The statistics of a compression.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effort {
    /// The lowest and the highest level used.
    pub levels: (i32, i32),
    /// The total time that the dump waited for compression.
    pub held_up: Duration,
}

/// The waiting times so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Clock {
    /// The time since the beginning.
    pub(super) passed: Duration,
    /// The time that compression waited for the dump.
    pub(super) for_input: Duration,
    /// The time that compression waited for the stages after it.
    pub(super) for_output: Duration,
    /// The number of chunks written by compression.
    pub(super) chunks: u64,
}

impl Clock {
    /// Returns the time that the other stages waited for compression.
    fn held_up(&self) -> Duration {
        self.passed.saturating_sub(self.for_input + self.for_output)
    }
}

/// The controller of an adaptive level.
#[derive(Debug)]
pub(super) struct Tuner {
    asked: Level,
    level: i32,
    effort: (i32, i32),
    bytes: u64,
    last: Clock,
    /// The recent elapsed time, and the part of it that compression waited for output, both with
    /// decreasing weight.
    lately: Duration,
    waited_lately: Duration,
}

impl Tuner {
    pub(super) fn new(asked: Level) -> Self {
        let level = match asked {
            Level::Fixed(level) => level,
            Level::Adaptive => FIRST,
        };
        let (lately, waited_lately) = (Duration::ZERO, Duration::ZERO);
        Self { asked, level, effort: (level, level), bytes: 0, last: Clock::default(), lately, waited_lately }
    }

    /// Returns the current level.
    pub(super) fn level(&self) -> i32 {
        self.level
    }

    /// Records `bytes` more input, and returns the new level if it changes.
    pub(super) fn hear(&mut self, bytes: u64, now: Clock) -> Option<i32> {
        self.bytes += bytes;
        if self.asked != Level::Adaptive || self.bytes < PERIOD_BYTES {
            return None;
        }
        let passed = now.passed - self.last.passed;
        let own = now.held_up().saturating_sub(self.last.held_up());
        let remembered = 1.0 - ((now.chunks - self.last.chunks) as f64 / BURST_CHUNKS as f64).min(1.0);
        self.lately = self.lately.mul_f64(remembered) + passed;
        self.waited_lately = self.waited_lately.mul_f64(remembered) + (now.for_output - self.last.for_output);
        (self.bytes, self.last) = (0, now);
        let better = match () {
            () if self.waited_lately > self.lately / 2 => self.level + 1,
            () if own > passed / 2 => self.level - 1,
            () => self.level,
        };
        let better = better.clamp(BOUNDS.0, BOUNDS.1);
        let changed = (better != self.level).then_some(better);
        self.level = better;
        self.effort = (self.effort.0.min(better), self.effort.1.max(better));
        changed
    }

    /// Returns the statistics.
    pub(super) fn effort(&self, now: Clock) -> Effort {
        Effort { levels: self.effort, held_up: now.held_up() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the statistics after periods of one second each, with the given waits for input and
    /// output in milliseconds.
    fn after(asked: Level, periods: &[(u64, u64)]) -> Effort {
        let (mut tuner, mut clock) = (Tuner::new(asked), Clock::default());
        for (input, output) in periods {
            clock.passed += Duration::from_secs(1);
            clock.for_input += Duration::from_millis(*input);
            clock.for_output += Duration::from_millis(*output);
            clock.chunks += 4;
            let before = tuner.level();
            let changed = tuner.hear(PERIOD_BYTES, clock);
            assert_eq!(changed, (before != tuner.level()).then(|| tuner.level()));
        }
        tuner.effort(clock)
    }

    #[test]
    fn what_holds_the_dump_up_tries_less_hard() {
        assert_eq!(after(Level::Adaptive, &[(100, 0)]).levels, (2, 3));
        assert_eq!(after(Level::Adaptive, &[(100, 0); 9]).levels, (1, 3));
    }

    #[test]
    fn what_waits_for_a_destination_tries_harder() {
        assert_eq!(after(Level::Adaptive, &[(0, 900)]).levels, (3, 4));
        assert_eq!(after(Level::Adaptive, &[(0, 900); 9]).levels, (3, 7));
    }

    #[test]
    fn what_waits_for_the_dump_costs_its_host_no_more() {
        assert_eq!(after(Level::Adaptive, &[(900, 0); 9]).levels, (3, 3));
    }

    #[test]
    fn what_was_asked_for_stays() {
        assert_eq!(after(Level::Fixed(9), &[(0, 0), (0, 900)]).levels, (9, 9));
    }

    #[test]
    fn the_cost_is_what_others_waited() {
        assert_eq!(after(Level::Adaptive, &[(700, 100); 10]).held_up, Duration::from_secs(2));
    }

    #[test]
    fn a_few_bytes_say_nothing() {
        let mut tuner = Tuner::new(Level::Adaptive);
        assert_eq!(tuner.hear(1000, Clock { passed: Duration::from_secs(9), ..Clock::default() }), None);
    }

    /// A slow destination accepts many chunks at once and then none for a long time. The dump waits
    /// for the destination in between, and not for compression.
    #[test]
    fn a_slow_destination_is_known_by_its_bursts() {
        for (ratio, burst) in [(64, 4), (4, 4), (12, 128), (4, 128), (2, 128)] {
            let (mut tuner, mut clock) = (Tuner::new(Level::Adaptive), Clock::default());
            let chunk_bytes = 256 << 10;
            for chunk in 1..=20 * BURST_CHUNKS {
                clock.chunks = chunk;
                // The destination takes 10 MB/s; compression alone could take 1000.
                clock.passed += Duration::from_micros(chunk_bytes * ratio / 1000);
                if chunk.is_multiple_of(burst) {
                    let waited = Duration::from_micros(burst * chunk_bytes / 10);
                    (clock.passed, clock.for_output) = (clock.passed + waited, clock.for_output + waited);
                }
                tuner.hear(chunk_bytes * ratio, clock);
                let is_settled = chunk > 4 * BURST_CHUNKS;
                assert!(!is_settled || tuner.level() == BOUNDS.1, "1:{ratio}, bursts of {burst}, after {chunk} chunks");
            }
        }
    }

    #[test]
    fn a_destination_that_was_slow_is_forgotten() {
        let (mut tuner, mut clock) = (Tuner::new(Level::Adaptive), Clock::default());
        for period in 0..60 {
            clock.passed += Duration::from_secs(1);
            clock.for_output += Duration::from_millis(if period < 20 { 900 } else { 0 });
            clock.chunks += 16;
            tuner.hear(PERIOD_BYTES, clock);
            assert!(period != 19 || tuner.level() == BOUNDS.1);
        }
        assert_eq!(tuner.level(), BOUNDS.0);
    }
}
