//! A maximum rate of writes to a destination, constant or by the local time of day.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{Local, NaiveTime};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde::Deserialize;
use tokio::time::Instant;

use crate::check::{Check, Finding};
use crate::error::Result;
use crate::key::Key;
use crate::stage::{Capabilities, Entry, Limits, Ship, Store};
use crate::stream::ByteStream;
use crate::unit::ByteSize;

/// A destination whose writes keep to a maximum rate.
pub struct RateLimit {
    store: Arc<dyn Store>,
    limiter: Arc<RateLimiter>,
}

impl RateLimit {
    /// Wraps a destination. All destinations with the same limiter share its rate.
    pub fn new(store: Arc<dyn Store>, limiter: Arc<RateLimiter>) -> Self {
        Self { store, limiter }
    }
}

#[async_trait]
impl Check for RateLimit {
    async fn check(&self) -> Vec<Finding> {
        self.store.check().await
    }
}

#[async_trait]
impl Ship for RateLimit {
    async fn ship(&self, key: &Key, body: ByteStream) -> Result<()> {
        self.store.ship(key, Arc::clone(&self.limiter).limit(body)).await
    }

    fn limits(&self) -> Limits {
        self.store.limits()
    }

    fn capabilities(&self) -> Capabilities<'_> {
        self.store.capabilities()
    }
}

#[async_trait]
impl Store for RateLimit {
    async fn list(&self, under: Option<&Key>) -> Result<BoxStream<'static, Result<Entry>>> {
        self.store.list(under).await
    }

    async fn list_backups(&self) -> Result<BoxStream<'static, Result<Entry>>> {
        self.store.list_backups().await
    }

    async fn stat(&self, key: &Key) -> Result<Entry> {
        self.store.stat(key).await
    }

    async fn fetch(&self, key: &Key, range: Option<Range<u64>>) -> Result<ByteStream> {
        self.store.fetch(key, range).await
    }

    async fn remove(&self, key: &Key) -> Result<()> {
        self.store.remove(key).await
    }
}

/// The largest burst after a pause, in time at full rate.
const BURST: Duration = Duration::from_millis(100);

/// A rate in bytes per second, such as `"20MiB"`. A table gives rates by the local time of day,
/// such as `{ "08:00-18:00" = "5MiB" }`, with no limit at other times.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "Written")]
#[schemars(with = "Written")]
pub struct MaxRate(Vec<Slot>);

/// A part of the day and its rate. A slot that begins later than it ends spans midnight; a slot
/// with equal times is the whole day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    from: NaiveTime,
    to: NaiveTime,
    bytes_per_second: u64,
}

impl Slot {
    fn contains(&self, time: NaiveTime) -> bool {
        if self.from < self.to { (self.from..self.to).contains(&time) } else { time >= self.from || time < self.to }
    }
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(untagged, expecting = "expected bytes per second, such as \"5MiB\", or { \"08:00-18:00\" = \"5MiB\" }")]
enum Written {
    Always(#[schemars(with = "ByteSize")] String),
    Timetable(#[schemars(with = "BTreeMap<String, ByteSize>")] BTreeMap<String, String>),
}

impl TryFrom<Written> for MaxRate {
    type Error = String;

    fn try_from(written: Written) -> std::result::Result<Self, String> {
        let slot = |from, to, rate: String| match ByteSize::try_from(rate)?.bytes() {
            0 => Err("a rate must be greater than 0".to_owned()),
            bytes_per_second => Ok(Slot { from, to, bytes_per_second }),
        };
        let slots = match written {
            Written::Always(rate) => vec![slot(NaiveTime::MIN, NaiveTime::MIN, rate)?],
            Written::Timetable(slots) => slots
                .into_iter()
                .map(|(when, rate)| {
                    let (from, to) = parse_time_range(&when).ok_or_else(|| {
                        format!("invalid time range \"{when}\", expected a range such as \"08:00-18:00\"")
                    })?;
                    slot(from, to, rate)
                })
                .collect::<std::result::Result<_, String>>()?,
        };
        Ok(Self(slots))
    }
}

fn parse_time_range(text: &str) -> Option<(NaiveTime, NaiveTime)> {
    let (from, to) = text.split_once('-')?;
    let time = |text: &str| match text.trim() {
        "24:00" => Some(NaiveTime::MIN),
        text => NaiveTime::parse_from_str(text, "%H:%M").ok(),
    };
    Some((time(from)?, time(to)?))
}

impl MaxRate {
    /// Returns the rate at a time of day, in bytes per second: the lowest one if slots overlap.
    fn at(&self, time: NaiveTime) -> Option<u64> {
        self.0.iter().filter(|slot| slot.contains(time)).map(|slot| slot.bytes_per_second).min()
    }
}

/// A rate limiter shared by all uploads to a destination.
#[derive(Debug)]
pub struct RateLimiter {
    rate: MaxRate,
    /// The time at which the bytes passed so far would have been written at the limit.
    next_write: Mutex<Instant>,
}

impl RateLimiter {
    /// Creates a rate limiter.
    pub fn new(rate: MaxRate) -> Self {
        Self { rate, next_write: Mutex::new(Instant::now()) }
    }

    /// Returns the same body, delayed so that all bodies together keep to the rate.
    pub fn limit(self: Arc<Self>, body: ByteStream) -> ByteStream {
        body.then(move |chunk| {
            let limiter = Arc::clone(&self);
            async move {
                if let Ok(chunk) = &chunk {
                    tokio::time::sleep_until(limiter.reserve(chunk.len() as u64)).await;
                }
                chunk
            }
        })
        .boxed()
    }

    /// Returns the time at which `bytes` more bytes may pass.
    fn reserve(&self, bytes: u64) -> Instant {
        let Some(rate) = self.rate.at(Local::now().time()) else { return Instant::now() };
        let now = Instant::now();
        // No panic can leave the value half updated, so a poisoned lock is safe to use.
        let mut next_write = self.next_write.lock().unwrap_or_else(PoisonError::into_inner);
        let start = (*next_write).max(now.checked_sub(BURST).unwrap_or(now));
        *next_write = start + Duration::from_secs_f64(bytes as f64 / rate as f64);
        start
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{collect, from_bytes};

    fn read(text: serde_json::Value) -> std::result::Result<MaxRate, String> {
        serde_json::from_value(text).map_err(|error| error.to_string())
    }

    fn at(hour: u32, minute: u32) -> NaiveTime {
        NaiveTime::from_hms_opt(hour, minute, 0).unwrap()
    }

    #[test]
    fn rate_depends_on_the_time_of_day() {
        assert_eq!(read(serde_json::json!("5MiB")).unwrap().at(at(3, 0)), Some(5 << 20));
        let timetable = serde_json::json!({ "08:00-18:00": "5MiB", "22:00-02:00": "1MiB", "17:00-24:00": "2MiB" });
        let rate = read(timetable).unwrap();
        for (time, expected) in [
            (at(7, 59), None),
            (at(8, 0), Some(5 << 20)),
            (at(17, 30), Some(2 << 20)),
            (at(18, 0), Some(2 << 20)),
            (at(23, 59), Some(1 << 20)),
            (at(1, 59), Some(1 << 20)),
            (at(2, 0), None),
        ] {
            assert_eq!(rate.at(time), expected, "{time}");
        }
    }

    #[test]
    fn invalid_rate_names_the_expected_form() {
        for (bad, words) in [
            (serde_json::json!("fast"), "not a size"),
            (serde_json::json!("0"), "greater than 0"),
            (serde_json::json!(5), "expected bytes per second"),
            (serde_json::json!({ "8-18h": "5MiB" }), "invalid time range"),
            (serde_json::json!({ "08:00-18:00": "5" , "x": "1" }), "invalid time range"),
        ] {
            let error = read(bad).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn uploads_share_the_rate() {
        let limiter = Arc::new(RateLimiter::new(read(serde_json::json!("1000")).unwrap()));
        let body = || {
            let chunks = futures_util::stream::iter((0..10).map(|_| Ok(bytes::Bytes::from_static(&[0; 100]))));
            Arc::clone(&limiter).limit(chunks.boxed())
        };
        let begun = Instant::now();
        let read = |body| collect(body, 1 << 20, crate::Stage::Ship, "");
        let (one, other) = tokio::join!(read(body()), read(body()));
        assert_eq!((one.unwrap().len(), other.unwrap().len()), (1000, 1000));
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(1700) && took <= Duration::from_millis(2100), "{took:?}");
    }

    #[tokio::test]
    async fn rate_limit_preserves_the_bytes() {
        let limiter = Arc::new(RateLimiter::new(read(serde_json::json!("1GiB")).unwrap()));
        let passed = collect(limiter.limit(from_bytes("cargo")), 100, crate::Stage::Ship, "").await.unwrap();
        assert_eq!(passed, "cargo");
    }
}
