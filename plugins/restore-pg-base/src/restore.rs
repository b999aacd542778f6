//! A restore that is undone on interruption.

use std::time::Duration;

use longshore_core::manifest::Manifest;
use longshore_core::phase::Phase;
use longshore_core::stage::{Restored, SnapshotFiles};
use longshore_core::stream::{self, ByteStream, OnEnd};
use longshore_core::{Error, Kind, Result, Stage, cleanup};

use crate::abandoned::Abandoned;
use crate::archive::Tars;
use crate::note;
use crate::prepare::Plan;
use crate::snapshot::Files;
use crate::unpack::{Unpacked, unpack};

/// Restores a backup. If the caller is dropped, the input of the thread that unpacks fails, and the
/// thread removes everything that it made. [`cleanup::CleanupScope`] waits for the thread.
pub(crate) async fn restore(plan: Plan, manifest: &Manifest, plaintext: ByteStream) -> Result<Restored> {
    let subject = plan.data.display().to_string();
    let notes = note::Notes::new(&plan, manifest);
    let (sender, input) = stream::channel();
    let abandoned = Abandoned::default();
    let guard = abandoned.set_on_drop();
    let unpacking = cleanup::shield(unpack_on_thread(plan, input, abandoned));
    // Forwarding fails only after the thread has ended with an error of its own.
    let (_, unpacked) = tokio::join!(sender.forward(plaintext), unpacking);
    drop(guard);
    let unpacked = unpacked?;
    let unpacked = unpacked.get().ok_or_else(|| Error::new(Stage::Restore, Kind::Failed, subject, "did not end"))?;
    Ok(restored(&notes, unpacked))
}

/// Restores the files of a snapshot. If the caller is dropped, everything that was made is removed.
pub(crate) async fn restore_files(plan: Plan, manifest: &Manifest, files: SnapshotFiles) -> Result<Restored> {
    let subject = plan.data.display().to_string();
    let notes = note::Notes::new(&plan, manifest);
    let abandoned = Abandoned::default();
    let guard = abandoned.set_on_drop();
    let copying = cleanup::shield(async move {
        let SnapshotFiles { members, in_use } = files;
        let copied = tokio::task::spawn_blocking(move || unpack(Files(members), &plan, &abandoned)).await;
        drop(in_use);
        copied.map_err(|error| Error::new(Stage::Restore, Kind::Failed, subject, "did not end").because(error))?
    });
    let copied = copying.await;
    drop(guard);
    Ok(restored(&notes, &copied?))
}

fn restored(notes: &note::Notes, unpacked: &Unpacked) -> Restored {
    let phases = vec![phase("unpack", unpacked.unpacking), phase("sync", unpacked.syncing)];
    Restored { notes: notes.about(unpacked), phases, ..Restored::default() }
}

async fn unpack_on_thread(plan: Plan, input: ByteStream, abandoned: Abandoned) -> Result<OnEnd<Unpacked>> {
    let unpacked = OnEnd::new();
    let (on_end, subject) = (unpacked.clone(), plan.data.display().to_string());
    let wrap = |error| Error::io(Stage::Restore, subject, "cannot be restored", error);
    let work = stream::transform(input, wrap, move |reader, _| {
        on_end.set(unpack(Tars::new(reader), &plan, &abandoned)?);
        Ok(())
    });
    stream::drain(work).await?;
    Ok(unpacked)
}

/// Returns a phase that a restore cannot omit.
fn phase(name: &str, duration: Duration) -> Phase {
    Phase { name: name.to_owned(), seconds: duration.as_secs_f64(), restores: true }
}
