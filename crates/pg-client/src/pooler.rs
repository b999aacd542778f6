//! Connection poolers, and the proof that a connection passes none.
//!
//! A pooler hands server sessions from one client to another. Settings of a startup packet or of a
//! `SET` are lost or remain for the next client, and a dump then lacks rows without failing.
//! Poolers are recognised by their behaviour, not by name:
//!
//! | sign | seen with |
//! | --- | --- |
//! | startup settings are refused | PgBouncer, RDS Proxy |
//! | startup settings are ignored | PgBouncer (`ignore_startup_parameters`), PgCat, Supavisor |
//! | two transactions of a session run in two server processes | transaction pooling under load |
//! | a new session runs in an earlier server process | pools that keep settings (Pgpool-II) |
//!
//! A server process starts after its client has begun to connect. By the server's own clock, the
//! process is therefore younger than the end of an earlier session, however slow authentication or
//! the network is. A server without a pooler shows none of these signs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use longshore_core::stream::ByteStream;
use longshore_core::{Error, Kind, Result, Stage};
use serde::Deserialize;

use crate::child::Exit;
use crate::client::Client;
use crate::session::{PROBE, Session};

/// The number of attempts at another session, and the time between them. The previous session may
/// still count towards a connection limit.
const ATTEMPTS: usize = 4;
const RETRY_DELAY: Duration = Duration::from_millis(300);

/// The number of times that a session must begin without settings, and fail with them.
const ROUNDS: usize = 3;

/// The time within which a pooler refuses a session. A slower failure is not attributed to a
/// pooler.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Settings that omit rows when on, and that only a superuser may send.
const ROW_HIDING: [&str; 2] = ["zero_damaged_pages", "ignore_checksum_failure"];

/// The number of transactions that are observed in a session.
const TRANSACTIONS: usize = 3;

/// A sign of a pooler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    SettingsRefused,
    SettingsLost,
    ProcessChanged,
    ProcessReused,
}

impl Sign {
    fn description(self) -> &'static str {
        match self {
            Self::SettingsRefused => "settings at the start of a session are refused",
            Self::SettingsLost => "settings sent at the start of a session are not in force",
            Self::ProcessChanged => "transactions of one session run in different server processes",
            Self::ProcessReused => "a new session runs in the server process of an earlier one",
        }
    }
}

/// One transaction, as its session sees the server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Observation {
    /// The value of the probe, if the session has it.
    probe: Option<String>,
    /// The server process.
    pid: i64,
    /// The start of the server process, if the role may see it. Times are in microseconds since
    /// 1970.
    began: Option<i64>,
    /// The start of the server, which identifies the server.
    server: i64,
    /// The time of the transaction.
    clock: i64,
    /// The settings in force.
    settings: BTreeMap<String, Option<String>>,
}

/// Returns the SQL that yields an [`Observation`]. Names are qualified, since the search path is
/// the database's own.
fn sql<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.map(|name| format!("'{name}'")).collect();
    format!(
        "select pg_catalog.json_build_object('probe', pg_catalog.current_setting('{PROBE}', true),
        'pid', pg_catalog.pg_backend_pid(),
        'began', (select (extract(epoch from backend_start) * 1000000)::pg_catalog.int8
            from pg_catalog.pg_stat_activity where pid = pg_catalog.pg_backend_pid()),
        'server', (extract(epoch from pg_catalog.pg_postmaster_start_time()) * 1000000)::pg_catalog.int8,
        'clock', (extract(epoch from pg_catalog.clock_timestamp()) * 1000000)::pg_catalog.int8,
        'settings', (select pg_catalog.json_object_agg(name, pg_catalog.current_setting(name, true))
            from pg_catalog.unnest(array[{}]::pg_catalog.text[]) name))",
        names.join(", ")
    )
}

/// A session that was observed to reach the server directly.
#[derive(Debug, Clone)]
pub struct DirectSession {
    client: Client,
    last: Observation,
}

/// Fails if the connection passes a pooler, in use or idle.
pub async fn refuse(client: &Client) -> Result<()> {
    let last = observe(client, 1).await?;
    DirectSession { client: client.clone(), last }.repeat().await.map(drop)
}

impl DirectSession {
    /// Proves that sessions of `client`'s programs reach the server directly, with all settings
    /// that were sent.
    pub async fn prove(client: &Client) -> Result<Self> {
        let last = observe(client, ATTEMPTS).await?;
        Ok(Self { client: client.clone(), last })
    }

    /// Repeats the proof with a new session.
    pub async fn repeat(&self) -> Result<Self> {
        let mut last = observe(&self.client, ATTEMPTS).await?;
        if is_older(&last, &self.last) && !is_same_process(&last, &self.last) {
            // A single occurrence may be due to a clock that was set back.
            let before = std::mem::replace(&mut last, observe(&self.client, ATTEMPTS).await?);
            if is_older(&last, &before) {
                return Err(pooler_error(&self.client, Sign::ProcessReused));
            }
        }
        if is_same_process(&last, &self.last) {
            return Err(pooler_error(&self.client, Sign::ProcessReused));
        }
        Ok(Self { client: self.client.clone(), last })
    }

    /// Returns the same stream, which ends cleanly only if the proof still succeeds at its end.
    pub fn guard(self, mut stream: ByteStream) -> ByteStream {
        let proved = async_stream::try_stream! {
            while let Some(chunk) = stream.next().await {
                yield chunk?;
            }
            self.repeat().await?;
        };
        proved.boxed()
    }
}

/// Returns true if two sessions ran in one server process.
fn is_same_process(new: &Observation, old: &Observation) -> bool {
    new.server == old.server && new.pid == old.pid && new.began.is_some() && new.began == old.began
}

/// Returns true if the process of a new session is older than the last transaction of the previous
/// session.
fn is_older(new: &Observation, old: &Observation) -> bool {
    new.server == old.server && new.began.is_some_and(|began| began < old.clock)
}

/// Opens a session and observes some of its transactions, in at most `attempts` attempts.
async fn observe(client: &Client, attempts: usize) -> Result<Observation> {
    let session = client.session();
    let mut attempt = 1;
    let observations = loop {
        let started = Instant::now();
        let exit = match observe_session(client, session, &session.options()).await? {
            Ok(observations) => break observations,
            Err(exit) => exit,
        };
        if started.elapsed() < REFUSAL_TIMEOUT && settings_are_refused(client, session).await? {
            return Err(pooler_error(client, Sign::SettingsRefused));
        }
        if attempt >= attempts {
            return Err(client.sql_error(Stage::Connect, client.name(), &exit).await);
        }
        attempt += 1;
        tokio::time::sleep(RETRY_DELAY).await;
    };
    let has_probe = |observations: &[Observation]| {
        observations.iter().all(|observation| observation.probe.as_deref() == Some(&*session.nonce))
    };
    if !has_probe(&observations) {
        let overriding = session.in_connection_string();
        let is_overridden = observe_session(client, &overriding, &session.options())
            .await?
            .is_ok_and(|observations| has_probe(&observations));
        return Err(if is_overridden {
            service_options_error(client)
        } else {
            pooler_error(client, Sign::SettingsLost)
        });
    }
    let Some((first, rest)) = observations.split_first() else {
        return Err(Error::new(Stage::Connect, Kind::Failed, client.name(), "the server's answer is empty"));
    };
    if rest.iter().any(|observation| observation.pid != first.pid || observation.began != first.began) {
        return Err(pooler_error(client, Sign::ProcessChanged));
    }
    expect_settings(client, first)?;
    Ok(first.clone())
}

/// Observes the transactions of one session that starts with `options`. Returns the result of psql
/// if psql failed.
async fn observe_session(client: &Client, session: &Session, options: &str) -> Result<Result<Vec<Observation>, Exit>> {
    let command = client.psql_with(|_, conninfo, command| session.set_options(conninfo, command, options)).await?;
    let names = session.mandatory().into_iter().map(|(name, _)| name).chain(ROW_HIDING);
    let (answer, exit) = client.answer(command, &vec![sql(names); TRANSACTIONS]).await?;
    if !exit.status.success() {
        return Ok(Err(exit));
    }
    let observations: serde_json::Result<_> = answer.lines().map(serde_json::from_str).collect();
    let unreadable = "the server's answer has an unexpected form";
    observations
        .map(Ok)
        .map_err(|error| Error::new(Stage::Connect, Kind::Failed, client.name(), unreadable).because(error))
}

/// Returns true if sessions begin without our settings, and fail with a setting that every server
/// accepts.
async fn settings_are_refused(client: &Client, session: &Session) -> Result<bool> {
    for round in 0..ROUNDS {
        if round > 0 {
            tokio::time::sleep(RETRY_DELAY).await;
        }
        if observe_session(client, session, "").await?.is_err()
            || observe_session(client, session, &session.probe()).await?.is_ok()
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Fails if a setting of the session differs from the value that was sent, or omits rows.
fn expect_settings(client: &Client, observation: &Observation) -> Result<()> {
    let value = |name: &str| observation.settings.get(name).and_then(Option::as_deref);
    // Not checked before the role is known: the later sessions of a superuser turn these settings
    // off.
    let mut row_hiding = ROW_HIDING.into_iter().filter(|_| client.session().is_set_up_to_read());
    if let Some(name) = row_hiding.find(|name| value(name) == Some("on")) {
        let message = format!("{name} is on for our sessions, so the dump would silently omit rows of damaged pages");
        let hint = format!("reset {name} for the role and the database (alter role …, alter database … reset {name})");
        return Err(Error::new(Stage::Connect, Kind::Refused, client.name(), message).hint(hint));
    }
    let lost = client.session().mandatory().into_iter().any(|(name, sent)| value(name) != Some(sent));
    if lost { Err(pooler_error(client, Sign::SettingsLost)) } else { Ok(()) }
}

fn pooler_error(client: &Client, sign: Sign) -> Error {
    let message = format!("the connection passes a connection pooler: {}", sign.description());
    Error::new(Stage::Connect, Kind::Refused, client.name(), message).hint(
        "connect directly to the server, not to PgBouncer or another pooler: set its host and port in `connection`",
    )
}

/// Returns the error for options of a service that override ours because they were not found and
/// joined.
fn service_options_error(client: &Client) -> Error {
    let message = "the options of the connection service replace the settings that a dump relies on";
    Error::new(Stage::Connect, Kind::Usage, client.name(), message)
        .hint("also write the service's options into the connection string: connection = \"service=… options='…'\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observation(pid: i64, began: i64, clock: i64) -> Observation {
        Observation { probe: None, pid, began: Some(began), server: 1, clock, settings: BTreeMap::new() }
    }

    #[test]
    fn sessions_in_different_processes_are_distinguished() {
        let old = observation(7, 100, 200);
        assert!(is_same_process(&observation(7, 100, 300), &old) && is_older(&observation(7, 100, 300), &old));
        assert!(is_older(&observation(8, 150, 300), &old), "idle meanwhile");
        // The same number again, after the numbers have wrapped around.
        let fresh = observation(7, 201, 300);
        assert!(!is_same_process(&fresh, &old) && !is_older(&fresh, &old));
        let elsewhere = Observation { server: 2, ..observation(7, 100, 300) };
        assert!(!is_same_process(&elsewhere, &old) && !is_older(&elsewhere, &old), "clocks of two servers differ");
        let hidden = Observation { began: None, ..observation(7, 100, 300) };
        assert!(!is_same_process(&hidden, &old) && !is_older(&hidden, &old), "no evidence");
    }
}
