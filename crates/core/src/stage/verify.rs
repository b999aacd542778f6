//! Verification of bytes in transit.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::base::BaseFacts;
use crate::check::Check;
use crate::comparison::Comparison;
use crate::error::Result;
use crate::event::Observer;
use crate::format::Format;
use crate::manifest::{Manifest, Verification};
use crate::provenance::Origin;
use crate::stream::{ByteStream, OnEnd};
use crate::subject::Subject;

/// The hint for a dump of a format that the verifier does not know.
pub const UNKNOWN_FORMAT_HINT: &str =
    "upgrade Longshore, or set verify = [{ type = \"pg_restore\" }] to use PostgreSQL's own program";

/// Verifies bytes in transit.
pub trait Verify: Check {
    /// Returns true if the stage verifies dumps of this format.
    fn verifies(&self, format: &Format) -> bool;

    /// Passes the same bytes on, and fails the stream with an error of kind
    /// [`Corrupt`](crate::error::Kind::Corrupt) if the bytes are damaged. The stream ends cleanly
    /// only after the verifier has finished. The same object serves a run and a read-back. A
    /// verifier that can read the dump's structure reports the next part to `observer`.
    fn verify(
        &self,
        subject: &Subject,
        format: Format,
        plaintext: ByteStream,
        observer: &Arc<dyn Observer>,
    ) -> Verified;

    /// Compares the details found by a read-back (`found`) with those recorded during the dump,
    /// and with the counts of the manifest. Both describe the same bytes, so every difference is
    /// damage. Returns the differences, or `None` if either side lacks details of this stage.
    fn differences(
        &self,
        _manifest: &Manifest,
        _recorded: &Map<String, Value>,
        _found: &Map<String, Value>,
    ) -> Option<Vec<Comparison>> {
        None
    }

    /// Passes the bytes of a dump on to a restore. Fails the stream with an error of kind
    /// [`Corrupt`](crate::error::Kind::Corrupt) if the definitions in the dump differ from the
    /// recorded ones: before the first byte if the format allows it, else at the end. Rows are not
    /// compared. Without recorded definitions, every dump passes.
    fn expect_recorded(
        &self,
        _manifest: &Manifest,
        _recorded: &Map<String, Value>,
        plaintext: ByteStream,
    ) -> ByteStream {
        plaintext
    }

    /// Returns the origin named in the header of a dump, given the first bytes of the dump. Returns
    /// an empty origin if the header names none, or if its version is unknown.
    ///
    /// # Errors
    ///
    /// Fails with [`Corrupt`](crate::error::Kind::Corrupt) if the header is damaged or longer than
    /// [`HEADER_BYTES`].
    fn origin(&self, _subject: &Subject, _head: &[u8]) -> Result<Origin> {
        Ok(Origin::default())
    }
}

/// The key in the details that contains the digests of definitions. The digests are as secret as
/// the dump, so reports omit them.
pub const DEFINITIONS: &str = "definitions";

/// The number of bytes at the beginning of a dump that always contain its header.
pub const HEADER_BYTES: usize = 64 << 10;

/// Returns the verifiers of this format, or the first one, whose error names the format.
pub fn verifiers_of<'a>(all: &'a [Arc<dyn Verify>], format: &Format) -> Vec<&'a Arc<dyn Verify>> {
    let fitting: Vec<_> = all.iter().filter(|verify| verify.verifies(format)).collect();
    if fitting.is_empty() { all.first().into_iter().collect() } else { fitting }
}

/// A stream under verification.
pub struct Verified {
    /// The same bytes, or an error if they are damaged.
    pub stream: ByteStream,
    /// The report, known at the end: counts for the manifest, the rest for the encrypted details.
    pub report: OnEnd<VerifyReport>,
}

/// The report of a [`Verify`] stage.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifyReport {
    /// The verifier's name, and counts that are not confidential.
    pub verification: Verification,
    /// Confidential details, such as names and row counts of tables.
    pub details: Map<String, Value>,
    /// The facts of a base backup.
    pub base: Option<BaseFacts>,
}
