//! The roles of a destination.

use std::collections::BTreeSet;

use longshore_core::digest::hex;
use longshore_core::{Kind, Result};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Results, Tester, failing, sample_bytes, stream_of};
use crate::message::{ObjectEntry, Role};
use crate::session::{Session, Step, no_input};

/// The lengths of tested objects.
const LENGTHS: [usize; 4] = [0, 1, 1000, 3_000_000];

/// The roles that a destination needs.
const ROLES: [Role; 6] = [Role::Ship, Role::Fetch, Role::List, Role::Stat, Role::Remove, Role::Check];

/// Tests the roles of a destination.
pub(super) async fn test(tester: &Tester<'_>, roles: &[Role], results: &mut Results) {
    if !roles.contains(&Role::Ship) {
        return;
    }
    let missing: Vec<_> = ROLES.iter().filter(|role| !roles.contains(role)).map(|role| role.name()).collect();
    if !missing.is_empty() {
        results.record("ship: the other roles of a destination exist", Err(format!("missing: {}", missing.join(", "))));
        return;
    }
    for length in LENGTHS {
        results.record(&format!("ship, fetch: {length} bytes return unchanged"), round_trip(tester, length).await);
    }
    results.record("fetch: returns a range", range(tester).await);
    results.record("ship: never overwrites an object", no_overwrite(tester).await);
    results.record("ship: publishes nothing if the body fails", failed_body(tester).await);
    results.record("ship: publishes nothing before the commit", uncommitted(tester, Loss::Killed).await);
    results
        .record("ship: publishes nothing if Longshore dies after the body", uncommitted(tester, Loss::HostDied).await);
    results.record("stat, fetch: a missing object is not found", not_found(tester).await);
    results.record("list: reports all objects below a folder", list(tester).await);
    results.record("remove: removes an object, and succeeds for a missing one", remove(tester).await);
    results.record("remove: leaves nothing of this test", clean_up(tester).await);
}

impl Tester<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.unique)
    }

    /// Passes a body to the program, up to the commit.
    async fn upload(&self, key: &str, body: longshore_core::stream::ByteStream) -> Result<Session> {
        let (folder, _) = key.rsplit_once('/').unwrap_or_default();
        let temp = longshore_core::temp_name::unique_name(folder);
        let mut session = self.start(Role::Ship, &[("key", key.into()), ("temp", temp.into())]).await?;
        let mut body = body;
        while !matches!(session.step(&mut body).await?, Step::InputEnded) {}
        Ok(session)
    }

    async fn ship(&self, key: &str, bytes: &[u8]) -> Result<()> {
        let mut session = self.upload(key, stream_of(bytes)).await?;
        session.commit(&hex(&Sha256::digest(bytes))).await?;
        let mut input = no_input();
        while !matches!(session.step(&mut input).await?, Step::Ended) {}
        session.finish().await.map(drop)
    }

    async fn fetch(&self, key: &str, offset: usize, length: usize) -> Result<Vec<u8>> {
        let fields = [("key", key.into()), ("offset", Value::from(offset)), ("length", Value::from(length))];
        Ok(self.attempt(Role::Fetch, &fields, no_input()).await?.output)
    }

    async fn entries(&self, role: Role, field: &str, value: &str) -> Result<Vec<ObjectEntry>> {
        Ok(self.attempt(role, &[(field, value.into())], no_input()).await?.entries)
    }

    /// Fails if an object is visible.
    async fn expect_missing(&self, key: &str) -> Result<(), String> {
        let found = self.entries(Role::Stat, "key", key).await.or_else(|error| match error.kind() {
            Kind::NotFound => Ok(Vec::new()),
            _ => Err(error.chain()),
        })?;
        if found.is_empty() { Ok(()) } else { Err(format!("the object is visible, with {} bytes", found[0].bytes)) }
    }
}

/// Compares bytes, and describes a difference.
fn expect_equal(expected: &[u8], found: &[u8]) -> Result<(), String> {
    if expected == found {
        return Ok(());
    }
    Err(format!("{} bytes returned as {} other bytes", expected.len(), found.len()))
}

async fn round_trip(tester: &Tester<'_>, length: usize) -> Result<(), String> {
    let (key, bytes) = (tester.key(&format!("whole-{length}")), sample_bytes(length));
    let stored = async {
        tester.ship(&key, &bytes).await?;
        let found = tester.entries(Role::Stat, "key", &key).await?;
        Ok::<_, longshore_core::Error>((found, tester.fetch(&key, 0, length).await?))
    };
    let (found, fetched) = stored.await.map_err(|error| error.chain())?;
    match found.as_slice() {
        [entry] if entry.key == key && entry.bytes == length as u64 => expect_equal(&bytes, &fetched),
        other => Err(format!("stat reported {other:?} for {length} bytes")),
    }
}

async fn range(tester: &Tester<'_>) -> Result<(), String> {
    let (key, bytes) = (tester.key("range"), sample_bytes(300_000));
    tester.ship(&key, &bytes).await.map_err(|error| error.chain())?;
    for (offset, length) in [(0, 1), (5, 12), (100_000, 150_000), (299_999, 1)] {
        let fetched = tester.fetch(&key, offset, length).await.map_err(|error| error.chain())?;
        expect_equal(&bytes[offset..offset + length], &fetched)?;
    }
    Ok(())
}

async fn no_overwrite(tester: &Tester<'_>) -> Result<(), String> {
    let key = tester.key("taken");
    tester.ship(&key, b"the first").await.map_err(|error| error.chain())?;
    match tester.ship(&key, b"the second body").await {
        Ok(()) => return Err("a second upload of the key succeeded".to_owned()),
        Err(error) if error.kind() == Kind::AlreadyExists => {}
        Err(error) => return Err(format!("reported another error than already_exists: {}", error.chain())),
    }
    let fetched = tester.fetch(&key, 0, 9).await.map_err(|error| error.chain())?;
    expect_equal(b"the first", &fetched)
}

async fn failed_body(tester: &Tester<'_>) -> Result<(), String> {
    let key = tester.key("failed");
    match tester.upload(&key, failing(&sample_bytes(200_000))).await {
        Ok(_) => Err("the upload succeeded".to_owned()),
        Err(_) => tester.expect_missing(&key).await,
    }
}

/// The end of an upload whose body is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    Killed,
    HostDied,
}

async fn uncommitted(tester: &Tester<'_>, loss: Loss) -> Result<(), String> {
    let key = tester.key(if loss == Loss::Killed { "killed" } else { "abandoned" });
    let mut session = tester.upload(&key, stream_of(&sample_bytes(200_000))).await.map_err(|error| error.chain())?;
    match loss {
        Loss::Killed => session.abort().await,
        Loss::HostDied => session.disconnect().await,
    }
    tester.expect_missing(&key).await
}

async fn not_found(tester: &Tester<'_>) -> Result<(), String> {
    let key = tester.key("none/missing");
    tester.expect_missing(&key).await?;
    match tester.fetch(&key, 0, 1).await {
        Ok(_) => Err("fetch of a missing object succeeded".to_owned()),
        Err(_) => Ok(()),
    }
}

async fn list(tester: &Tester<'_>) -> Result<(), String> {
    let expected = ["list/a", "list/b%2F%s/c", "list-other"].map(|name| tester.key(name));
    for key in &expected {
        tester.ship(key, b"x").await.map_err(|error| error.chain())?;
    }
    let listed = async |under: String| {
        let found = tester.entries(Role::List, "under", &under).await.map_err(|error| error.chain())?;
        let mut keys: Vec<_> = found.into_iter().map(|entry| entry.key).collect();
        keys.sort();
        Ok::<_, String>(keys)
    };
    let below = listed(tester.key("list")).await?;
    if below != expected[..2] {
        return Err(format!("expected {:?}, found {below:?}", &expected[..2]));
    }
    let all = listed(String::new()).await?;
    match expected.iter().find(|key| !all.contains(key)) {
        Some(missing) => Err(format!("the list of everything lacks {missing}")),
        None => Ok(()),
    }
}

async fn remove(tester: &Tester<'_>) -> Result<(), String> {
    let key = tester.key("removed");
    tester.ship(&key, b"x").await.map_err(|error| error.chain())?;
    for _ in 0..2 {
        tester.run(Role::Remove, &[("key", key.as_str().into())], no_input()).await?;
        tester.expect_missing(&key).await?;
    }
    Ok(())
}

/// Removes everything that the tests stored, hidden files included, and then the folders.
async fn clean_up(tester: &Tester<'_>) -> Result<(), String> {
    let listed = async || tester.entries(Role::List, "under", tester.unique).await.map_err(|error| error.chain());
    let mut folders = BTreeSet::from([tester.unique.to_owned()]);
    for entry in listed().await? {
        let inner = entry.key.match_indices('/').filter(|(end, _)| *end > tester.unique.len());
        folders.extend(inner.map(|(end, _)| entry.key[..end].to_owned()));
        tester.run(Role::Remove, &[("key", entry.key.into())], no_input()).await?;
    }
    for folder in folders.into_iter().rev() {
        // Not all destinations have folders, so a program need not remove them.
        tester.run(Role::Remove, &[("key", folder.into())], no_input()).await.ok();
    }
    match listed().await?.first() {
        Some(left) => Err(format!("{} is still listed", left.key)),
        None => Ok(()),
    }
}
