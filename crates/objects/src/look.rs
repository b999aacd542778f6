//! Whether something is there, and whether it is ours.

use std::hash::{BuildHasher, RandomState};

use longshore_core::{Kind, Result};
use object_store::path::Path;
use object_store::{Attribute, Attributes, GetOptions};

use crate::bucket::Backend;

/// Where an object says who wrote it.
const WRITER: &str = "writer";

/// Who writes: a name for one attempt to bring one body, kept with the object, so that after a lost answer we know our own again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Writer(String);

impl Writer {
    /// A name that nobody else has.
    pub(crate) fn new() -> Self {
        let random = || RandomState::new().hash_one(std::process::id());
        Self(format!("longshore-{:016x}{:016x}", random(), random()))
    }

    /// The attributes of what it writes.
    pub(crate) fn sign(&self, attributes: &Attributes) -> Attributes {
        let mut attributes = attributes.clone();
        attributes.insert(Attribute::Metadata(WRITER.into()), self.0.clone().into());
        attributes
    }
}

/// What a look has found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing.
    Nothing,
    /// What we wrote, with its size in bytes.
    Ours(u64),
    /// Somebody else's, or of a store that keeps no attributes.
    Anothers,
    /// These credentials may not look.
    Unseen,
}

impl Backend {
    /// Looks at what has a name.
    pub(crate) async fn look(&self, path: &Path, writer: &Writer) -> Result<Found> {
        let head = GetOptions { head: true, ..GetOptions::default() };
        match self.store.get_opts(path, head).await {
            Ok(found) => {
                let by = found.attributes.get(&Attribute::Metadata(WRITER.into()));
                Ok(match by.is_some_and(|by| **by == *writer.0) {
                    true => Found::Ours(found.meta.size),
                    false => Found::Anothers,
                })
            }
            Err(error) => match self.failure(path, "cannot look whether it is there", error) {
                error if error.kind() == Kind::NotFound => Ok(Found::Nothing),
                error if error.kind() == Kind::Denied => Ok(Found::Unseen),
                error => Err(error),
            },
        }
    }

    /// Whether what has a name is what `writer` wrote. One that cannot be looked at is not known to be.
    pub(crate) async fn is_ours(&self, path: &Path, writer: &Writer) -> bool {
        matches!(self.look(path, writer).await, Ok(Found::Ours(_)))
    }
}
