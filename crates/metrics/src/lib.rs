//! Metrics for Prometheus: the state of all backups as text, from the structs of
//! `longshore status`.
//!
//! | module | contents |
//! | --- | --- |
//! | `metric` | every metric: its name, type and meaning |
//! | `families` | samples by metric, and their text |
//! | `backups`, `runs`, `destinations`, `service` | the samples of each subject |
//! | `file` | a file for node_exporter |
//!
//! Metrics contain timestamps instead of ages, and no sample where a fact is unknown. The labels
//! are `cluster`, `subject`, `job`, `destination`, `verb`, `outcome`, `state` and `channel`, and
//! never an id, a file or an LSN.

mod backups;
mod destinations;
mod families;
mod file;
pub mod metric;
mod runs;
mod service;
#[cfg(test)]
mod tests;

use longshore_engine::counters::Counters;
use longshore_engine::status::Status;

use self::families::Families;

pub use self::file::write;
pub use self::service::{ReceiverSample, Service};

/// The `Content-Type` of the text.
pub const CONTENT_TYPE: &str = prometheus_client::encoding::prometheus_text::CONTENT_TYPE;

/// The sources of metrics.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// The state of all backups.
    pub status: &'a Status,
    /// The counts of events on this host.
    pub counters: &'a Counters,
    /// The facts about a process that serves metrics; `None` for a file, whose writer has ended
    /// when the file is read.
    pub service: Option<&'a Service>,
}

/// Returns the metrics in Prometheus's text format, version 0.0.4.
pub fn to_text(sources: &Sources<'_>) -> String {
    let mut families = Families::default();
    backups::add(&mut families, sources.status);
    runs::add(&mut families, sources.status, sources.counters);
    destinations::add(&mut families, sources.status);
    service::add(&mut families, sources.service);
    families.into_text()
}
