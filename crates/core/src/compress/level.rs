//! How hard zstd tries: as asked for, or as hard as it can without holding anybody up.

use std::time::Duration;

/// zstd's own default, where an adaptive level begins.
const FIRST: i32 = 3;
/// The bounds of an adaptive level: below, a dump is larger than gzip would make it; above, it costs much for little.
const BOUNDS: (i32, i32) = (1, 7);
/// How many bytes pass before the level is thought over again.
const PERIOD_BYTES: u64 = 16 << 20;
/// For how many chunks of output a wait counts, ever less: a destination takes many at once, a disk 32 MiB and a bucket its parts, and then
/// nothing for long.
const BURST_CHUNKS: u64 = 256;

/// How hard zstd tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// This hard, from 1 to 19.
    Fixed(i32),
    /// From 1 to 7, beginning at 3: less where compression holds the dump up, more where a destination does, and its bytes are dearer
    /// than ours.
    Adaptive,
}

/// What compression cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effort {
    /// The lowest level, and the highest, that was used.
    pub levels: (i32, i32),
    /// How long the dump waited for it.
    pub held_up: Duration,
}

/// Who waited for whom so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Clock {
    /// Since the beginning.
    pub(super) passed: Duration,
    /// Compression waited for the dump.
    pub(super) for_input: Duration,
    /// Compression waited for what comes behind it.
    pub(super) for_output: Duration,
    /// How many chunks compression has passed on.
    pub(super) chunks: u64,
}

impl Clock {
    /// The dump, and what comes behind, waited for compression.
    fn held_up(&self) -> Duration {
        self.passed.saturating_sub(self.for_input + self.for_output)
    }
}

/// Finds the level as it goes.
#[derive(Debug)]
pub(super) struct Tuner {
    asked: Level,
    level: i32,
    effort: (i32, i32),
    bytes: u64,
    last: Clock,
    /// What passed in the last bursts of output, and how much of it compression waited for what comes behind it.
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

    /// The level by now.
    pub(super) fn level(&self) -> i32 {
        self.level
    }

    /// Hears of `bytes` more, and says which level is better now, if it is another.
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

    /// What it came to.
    pub(super) fn effort(&self, now: Clock) -> Effort {
        Effort { levels: self.effort, held_up: now.held_up() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A level after periods of a second each, of which compression waits so many milliseconds for input, and so many for output.
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

    /// A slow destination takes many chunks at once, and then nothing for long: whoever waits for it does not hold the dump up in between.
    #[test]
    fn a_slow_destination_is_known_by_its_bursts() {
        for (ratio, burst) in [(64, 4), (4, 4), (12, 128), (4, 128), (2, 128)] {
            let (mut tuner, mut clock) = (Tuner::new(Level::Adaptive), Clock::default());
            let chunk_bytes = 256 << 10;
            for chunk in 1..=20 * BURST_CHUNKS {
                clock.chunks = chunk;
                // At 10 MB/s to the destination, where compression could take 1000.
                clock.passed += Duration::from_micros(chunk_bytes * ratio / 1000);
                if chunk.is_multiple_of(burst) {
                    let waited = Duration::from_micros(burst * chunk_bytes / 10);
                    (clock.passed, clock.for_output) = (clock.passed + waited, clock.for_output + waited);
                }
                tuner.hear(chunk_bytes * ratio, clock);
                let is_settled = chunk > 4 * BURST_CHUNKS;
                assert!(!is_settled || tuner.level() == BOUNDS.1, "1:{ratio}, {burst} at once, after {chunk}");
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
