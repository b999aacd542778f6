//! A check whether an object exists, and whether this process wrote it.

use longshore_core::{Kind, Result};
use object_store::path::Path;
use object_store::{Attribute, Attributes, GetOptions};
use uuid::Uuid;

use crate::bucket::Backend;

/// The metadata attribute with an object's upload token.
const TOKEN_ATTRIBUTE: &str = "writer";

/// A unique token of one attempt to upload one body. It is stored with the object, so that a
/// process recognises its own object after a response is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UploadToken(String);

impl UploadToken {
    /// Returns a unique token.
    pub(crate) fn new() -> Self {
        Self(format!("longshore-{}", Uuid::new_v4().simple()))
    }

    /// Returns the attributes with this token.
    pub(crate) fn attach(&self, attributes: &Attributes) -> Attributes {
        let mut attributes = attributes.clone();
        attributes.insert(Attribute::Metadata(TOKEN_ATTRIBUTE.into()), self.0.clone().into());
        attributes
    }
}

/// The state of an object, as seen by one upload.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ObjectState {
    /// The object does not exist.
    Missing,
    /// The object of this upload, with its size in bytes.
    Ours(u64),
    /// The object of another upload, or an object in a store that does not keep attributes.
    Other,
    /// The credentials do not permit the check.
    Unknown,
}

impl Backend {
    /// Checks whether an object exists, and whether the upload with this token wrote it.
    pub(crate) async fn head(&self, path: &Path, token: &UploadToken) -> Result<ObjectState> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        match self.store.get_opts(path, options).await {
            Ok(object) => {
                let found = object.attributes.get(&Attribute::Metadata(TOKEN_ATTRIBUTE.into()));
                Ok(match found.is_some_and(|found| **found == *token.0) {
                    true => ObjectState::Ours(object.meta.size),
                    false => ObjectState::Other,
                })
            }
            Err(error) => match self.convert_error(path, "cannot check whether the object exists", error) {
                error if error.kind() == Kind::NotFound => Ok(ObjectState::Missing),
                error if error.kind() == Kind::Denied => Ok(ObjectState::Unknown),
                error => Err(error),
            },
        }
    }

    /// Returns true if the upload with this token wrote the object, and false if the check fails.
    pub(crate) async fn is_ours(&self, path: &Path, token: &UploadToken) -> bool {
        matches!(self.head(path, token).await, Ok(ObjectState::Ours(_)))
    }
}
