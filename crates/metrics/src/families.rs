//! Samples by metric, and their text.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::metric::{ALL, Kind, Metric};

/// The labels of a sample, in the order of the output.
pub(crate) type Labels = Vec<(&'static str, String)>;

/// Samples, by the name of their metric.
#[derive(Debug, Default)]
pub(crate) struct Families(BTreeMap<&'static str, Vec<(Labels, f64)>>);

impl Families {
    /// Adds a sample.
    pub(crate) fn add(&mut self, metric: Metric, labels: &Labels, value: f64) {
        self.0.entry(metric.name).or_default().push((labels.clone(), value));
    }

    /// Adds a sample, if the value is known.
    pub(crate) fn add_known(&mut self, metric: Metric, labels: &Labels, value: Option<f64>) {
        if let Some(value) = value {
            self.add(metric, labels, value);
        }
    }

    /// Adds a time, if it is known.
    pub(crate) fn add_time(&mut self, metric: Metric, labels: &Labels, time: Option<DateTime<Utc>>) {
        self.add_known(metric, labels, time.map(|time| time.timestamp_millis() as f64 / 1000.0));
    }

    /// Returns the samples as text.
    pub(crate) fn into_text(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        match prometheus_text::encode(&mut text, &registry) {
            // Writing to a string never fails.
            Ok(()) | Err(fmt::Error) => text,
        }
    }
}

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in ALL {
            let Some(samples) = self.0.get(metric.name) else { continue };
            // The encoder appends the suffix of counters.
            let (name, kind) = match metric.kind {
                Kind::Gauge => (metric.name, MetricType::Gauge),
                Kind::Counter => (metric.name.trim_end_matches("_total"), MetricType::Counter),
            };
            let mut family = encoder.encode_descriptor(name, metric.help, None, kind)?;
            for (labels, value) in samples {
                let sample = family.encode_family(labels)?;
                match metric.kind {
                    Kind::Gauge => ConstGauge::new(*value).encode(sample)?,
                    Kind::Counter => ConstCounter::new(*value).encode(sample)?,
                }
            }
        }
        Ok(())
    }
}
