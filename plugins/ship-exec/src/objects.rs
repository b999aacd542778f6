//! Listing, inspecting, reading and removing objects.

use chrono::Utc;
use longshore_core::key::Key;
use longshore_core::stage::{Entry, Leftover};
use longshore_core::temp_name::is_temp_name;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_exec::message::ObjectEntry;
use longshore_exec::session::no_input;
use longshore_exec::{Ended, ExecProgram, Request, Role, Session, Step};

/// The objects of a destination.
#[derive(Debug, Clone)]
pub(crate) struct Objects {
    pub(crate) program: ExecProgram,
}

impl Objects {
    /// Performs an operation without bytes. Returns the entries that the program reported.
    pub(crate) async fn work(&self, request: Request) -> Result<(Ended, Vec<ObjectEntry>)> {
        let mut session = Session::start(&self.program, request).await?;
        let (mut input, mut entries) = (no_input(), Vec::new());
        loop {
            match session.step(&mut input).await? {
                Step::Entry(entry) => entries.push(entry),
                Step::Ended => return Ok((session.finish().await?, entries)),
                Step::Output(_) | Step::Taken(_) | Step::InputEnded => {}
            }
        }
    }

    /// Lists the objects below a folder in the order of keys, and temporary files. Other files are
    /// foreign.
    pub(crate) async fn list(&self, under: Option<&Key>) -> Result<(Vec<Entry>, Vec<Leftover>)> {
        let folder = under.map_or("", Key::as_str);
        let request = Request::new(Stage::Ship, folder, Role::List).with("under", folder);
        let (_, found) = self.work(request).await?;
        let (mut entries, mut leftovers) = (Vec::new(), Vec::new());
        for ObjectEntry { key, bytes, modified } in found {
            match Key::parse(&key) {
                Ok(key) if under.is_none_or(|under| key.is_below(under)) => {
                    entries.push(Entry { key, bytes, modified })
                }
                Err(_) if is_temp_name(&key) => {
                    // Without a time, the file may be an upload in progress.
                    leftovers.push(Leftover {
                        name: key,
                        bytes: Some(bytes),
                        since: modified.unwrap_or_else(Utc::now),
                    });
                }
                Ok(_) | Err(_) => {}
            }
        }
        entries.sort_by(|one, other| one.key.cmp(&other.key));
        entries.dedup_by(|one, other| one.key == other.key);
        Ok((entries, leftovers))
    }

    /// Returns an object without its content.
    pub(crate) async fn stat(&self, key: &Key) -> Result<Entry> {
        let request = Request::new(Stage::Ship, key.as_str(), Role::Stat).with("key", key.as_str());
        let (_, found) = self.work(request).await?;
        let found = found.into_iter().find(|entry| entry.key == key.as_str());
        let missing = || Error::new(Stage::Ship, Kind::NotFound, key.as_str(), "the destination has no such object");
        let ObjectEntry { bytes, modified, .. } = found.ok_or_else(missing)?;
        Ok(Entry { key: key.clone(), bytes, modified })
    }

    /// Removes an object or a temporary file. A missing one is removed already.
    pub(crate) async fn remove(&self, name: &str) -> Result<()> {
        let request = Request::new(Stage::Ship, name, Role::Remove).with("key", name);
        match self.work(request).await {
            Err(error) if error.kind() != Kind::NotFound => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}
