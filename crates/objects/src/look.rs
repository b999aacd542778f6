//! A check whether an object exists, and whether this process wrote it.

use std::hash::{BuildHasher, RandomState};

use longshore_core::{Kind, Result};
use object_store::path::Path;
use object_store::{Attribute, Attributes, GetOptions};

use crate::bucket::Backend;

/// The metadata attribute that names an object's writer.
const WRITER: &str = "writer";

/// A unique name of one attempt to upload one body. It is stored with the object, so that a process
/// recognises its own object after an answer is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Writer(String);

impl Writer {
    /// Returns a unique name.
    pub(crate) fn new() -> Self {
        let random = || RandomState::new().hash_one(std::process::id());
        Self(format!("longshore-{:016x}{:016x}", random(), random()))
    }

    /// Returns the attributes of an object by this writer.
    pub(crate) fn sign(&self, attributes: &Attributes) -> Attributes {
        let mut attributes = attributes.clone();
        attributes.insert(Attribute::Metadata(WRITER.into()), self.0.clone().into());
        attributes
    }
}

/// The result of a check.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The object does not exist.
    Nothing,
    /// This writer's object, with its size in bytes.
    Ours(u64),
    /// Another writer's object, or an object in a store that does not keep attributes.
    Anothers,
    /// The credentials do not permit the check.
    Unseen,
}

impl Backend {
    /// Checks whether an object exists and who wrote it.
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
            Err(error) => match self.failure(path, "cannot check whether the object exists", error) {
                error if error.kind() == Kind::NotFound => Ok(Found::Nothing),
                error if error.kind() == Kind::Denied => Ok(Found::Unseen),
                error => Err(error),
            },
        }
    }

    /// Returns true if `writer` wrote the object, and false if the check fails.
    pub(crate) async fn is_ours(&self, path: &Path, writer: &Writer) -> bool {
        matches!(self.look(path, writer).await, Ok(Found::Ours(_)))
    }
}
