//! The axes of a chart: positions of numbers, times and ages, and tick marks.

/// The ends of an axis, in units of the chart, and the values there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Axis {
    /// Returns the position of a value.
    pub(super) fn position(self, value: f64) -> f64 {
        let range = self.most - self.least;
        let part = if range > 0.0 { (value - self.least) / range } else { 0.0 };
        self.from + (self.to - self.from) * part
    }
}

/// Returns up to six round numbers from 0 to at least `most`.
pub(super) fn count_ticks(most: usize) -> Vec<usize> {
    let steps = (0..).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_usize.pow(power)));
    let step = steps.take(30).find(|step| most.div_ceil(*step) <= 5).unwrap_or(most.max(1));
    (0..=most.div_ceil(step).max(1)).map(|count| count * step).collect()
}

/// The tick marks of an axis of ages, in hours.
const AGES: [(f64, &str); 12] = [
    (1.0, "1 h"),
    (6.0, "6 h"),
    (24.0, "1 day"),
    (72.0, "3 days"),
    (168.0, "1 week"),
    (730.5, "1 month"),
    (2191.5, "3 months"),
    (8766.0, "1 year"),
    (26298.0, "3 years"),
    (87660.0, "10 years"),
    (262_980.0, "30 years"),
    (876_600.0, "100 years"),
];

/// Returns the tick marks between two ages in hours.
pub(super) fn age_ticks(least: f64, most: f64) -> impl Iterator<Item = (f64, &'static str)> {
    AGES.into_iter().filter(move |(hours, _)| (least..=most).contains(hours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_ticks_are_round_and_cover_the_maximum() {
        for (most, all) in [
            (0, vec![0, 1]),
            (1, vec![0, 1]),
            (5, vec![0, 1, 2, 3, 4, 5]),
            (7, vec![0, 2, 4, 6, 8]),
            (24, vec![0, 5, 10, 15, 20, 25]),
            (4_380, vec![0, 1_000, 2_000, 3_000, 4_000, 5_000]),
        ] {
            assert_eq!(count_ticks(most), all);
        }
    }

    #[test]
    fn maps_values_linearly_to_positions() {
        let axis = Axis { from: 100.0, to: 200.0, least: 0.0, most: 4.0 };
        assert!((axis.position(1.0) - 125.0).abs() < 1e-9);
        let upward = Axis { from: 200.0, to: 100.0, ..axis };
        assert!((upward.position(1.0) - 175.0).abs() < 1e-9);
        assert!((Axis { most: 0.0, ..axis }.position(9.0) - 100.0).abs() < 1e-9, "a single value is at the start");
        assert_eq!(
            age_ticks(5.0, 800.0).map(|(_, name)| name).collect::<Vec<_>>(),
            ["6 h", "1 day", "3 days", "1 week", "1 month"]
        );
    }
}
