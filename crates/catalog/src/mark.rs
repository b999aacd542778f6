//! Reading and writing marks.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use longshore_core::pipeline::sign_record;
use longshore_core::stage::{Ship, Store};
use longshore_core::stream::{collect, from_bytes};
use longshore_model::key::{BackupName, Key, Timestamp};
use longshore_model::mark::{MAX_MARK_BYTES, Mark, MarkKind, MarkName, Marks};
use longshore_model::signature::Verdict;
use longshore_model::{Error, Kind, Result, Stage};
use serde::{Deserialize, Serialize};

use crate::signature::{ListedSignatures, are_required, verifying};

/// The maximum size in bytes of a mark whose signature is verified: a mark may contain the record
/// of a drill.
const MAX_SIGNED_BYTES: usize = 64 << 20;

/// Stores a mark beside a backup. If a mark of the same second exists, uses the next second.
pub async fn put(
    mark: &Mark,
    store: &dyn Ship,
    backup: &BackupName,
    kind: MarkKind,
    time: DateTime<Utc>,
) -> Result<MarkName> {
    put_content(mark, store, MarkName { backup: backup.clone(), kind, time: Timestamp::new(time) }).await
}

/// Fetches a mark.
async fn fetch(store: &dyn Store, key: &Key, max_bytes: usize) -> Result<Bytes> {
    collect(store.fetch(key, None).await?, max_bytes, Stage::Catalog, key.as_str()).await
}

fn parse(key: &Key, bytes: &[u8]) -> Result<Mark> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::new(Stage::Catalog, Kind::Corrupt, key.as_str(), "not a mark").because(error))
}

/// The marks of a backup whose signatures were verified.
#[derive(Default)]
struct VerifiedMarks {
    /// The contents of marks that have a meaning besides their names.
    contents: BTreeMap<MarkName, Bytes>,
    /// The marks that do not count, each with the reason.
    ignored: BTreeMap<MarkName, String>,
}

/// Verifies the signatures of all marks of a backup, if this host verifies signatures.
async fn verify(
    store: &dyn Store,
    (names, signatures): (&[MarkName], &ListedSignatures),
    lost: &impl Fn(&Error) -> Result<()>,
) -> Result<VerifiedMarks> {
    let mut verified = VerifiedMarks::default();
    if verifying(store).is_none() {
        return Ok(verified);
    }
    let is_required = are_required(store);
    for name in names {
        let key = name.key()?;
        if signatures.key(&key).is_none() {
            // Anyone who can write may store large marks without a signature.
            if is_required {
                verified.ignored.insert(name.clone(), Verdict::Unsigned.to_string());
            }
            continue;
        }
        match fetch_verified(store, name, signatures).await {
            Ok((bytes, verdict)) => {
                if !verdict.is_accepted(is_required) {
                    verified.ignored.insert(name.clone(), verdict.to_string());
                }
                // Of the others, which may be large records of drills, the names suffice.
                if !matches!(name.kind, MarkKind::Verified | MarkKind::Drilled) {
                    verified.contents.insert(name.clone(), bytes);
                }
            }
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => {
                if !matches!(error.kind(), Kind::Corrupt | Kind::Denied) {
                    lost(&error)?;
                }
                if is_required {
                    verified.ignored.insert(name.clone(), error.chain());
                }
            }
        }
    }
    Ok(verified)
}

/// Fetches a mark that has a signature, and verifies it.
async fn fetch_verified(store: &dyn Store, name: &MarkName, signatures: &ListedSignatures) -> Result<(Bytes, Verdict)> {
    let key = name.key()?;
    let has_record = matches!(name.kind, MarkKind::Drilled | MarkKind::Damaged | MarkKind::Unrestorable);
    let bytes = fetch(store, &key, if has_record { MAX_SIGNED_BYTES } else { MAX_MARK_BYTES }).await?;
    let verdict = signatures.verify(store, &key, &bytes).await?;
    let verdict = expect_own_key(&key, &bytes, verdict);
    Ok((bytes, verdict))
}

/// Returns true if a trusted signer signed a mark. Returns false for a mark that no longer exists.
pub async fn is_signed(store: &dyn Store, name: &MarkName, signatures: &ListedSignatures) -> Result<bool> {
    if signatures.key(&name.key()?).is_none() {
        return Ok(false);
    }
    match fetch_verified(store, name, signatures).await {
        Ok((_, verdict)) => Ok(verdict.signer().is_some()),
        Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Corrupt | Kind::Denied) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Compares the key in a signed mark with the mark's own key: a copy under another name states what
/// its signer did not.
fn expect_own_key(key: &Key, bytes: &[u8], verdict: Verdict) -> Verdict {
    #[derive(Deserialize)]
    struct Named {
        key: Option<Key>,
    }
    match verdict {
        Verdict::Signed { by, digest } => match serde_json::from_slice::<Named>(bytes) {
            Ok(Named { key: Some(own) }) if own == *key => Verdict::Signed { by, digest },
            Ok(Named { key: Some(other) }) => Verdict::Bad(format!("the mark is one of {other}")),
            _ => Verdict::Bad("the mark does not contain its key".to_owned()),
        },
        other => other,
    }
}

/// Combines the marks of a backup at `now`, and fetches marks whose names do not suffice. Fails if
/// `lost` returns an error for a failed fetch.
pub async fn read(
    store: &dyn Store,
    (names, signatures): (Vec<MarkName>, &ListedSignatures),
    now: DateTime<Utc>,
    lost: impl Fn(&Error) -> Result<()>,
) -> Result<Marks> {
    let mut verified = verify(store, (&names, signatures), &lost).await?;
    let marks = Marks::named(names, now).ignoring(verified.ignored, now);
    let mut contents = Vec::new();
    for name in marks.to_read() {
        let key = name.key()?;
        let bytes = match verified.contents.remove(&name) {
            // A second fetch could return other bytes than those of the signature.
            Some(bytes) => Ok(bytes),
            None => fetch(store, &key, MAX_MARK_BYTES).await,
        };
        match bytes.and_then(|bytes| parse(&key, &bytes)) {
            Err(error) if error.kind() == Kind::NotFound => {}
            content => {
                if let Err(error) = &content
                    && !matches!(error.kind(), Kind::Corrupt | Kind::Denied)
                {
                    lost(error)?;
                }
                contents.push((name, content));
            }
        }
    }
    Ok(marks.with_contents(contents))
}

/// A mark's content with the mark's key.
#[derive(Serialize)]
struct Keyed<'a, T> {
    key: &'a Key,
    #[serde(flatten)]
    content: &'a T,
}

/// Stores a mark's content beside a backup, and then its signature. If a mark of the same second
/// exists, uses the next second.
pub(crate) async fn put_content(content: &impl Serialize, store: &dyn Ship, mut name: MarkName) -> Result<MarkName> {
    loop {
        let key = name.key()?;
        let mut bytes = serde_json::to_vec_pretty(&Keyed { key: &key, content }).map_err(|error| {
            Error::new(Stage::Catalog, Kind::Failed, name.backup.as_str(), "cannot write a mark").because(error)
        })?;
        bytes.push(b'\n');
        let signature = match sign_record(store, &key, &bytes).await {
            // The mark of a restore protects the backup without a signature.
            Err(error) if error.kind() == Kind::Refused && name.kind == MarkKind::Restoring => None,
            signature => signature?,
        };
        match store.ship(&key, from_bytes(bytes)).await {
            Err(error) if error.kind() == Kind::AlreadyExists => {
                name.time = Timestamp::new(name.time.time() + TimeDelta::seconds(1));
            }
            Ok(()) => {
                // The mark's name is this writer's from here on, so no other writer's mark gets the
                // signature.
                if let Some((key, signature)) = signature {
                    store.ship(&key, from_bytes(signature)).await?;
                }
                return Ok(name);
            }
            Err(error) => return Err(error),
        }
    }
}
