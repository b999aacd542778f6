//! Comparison of backups with the record of their dump: decoded findings, and the stream that a
//! restore reads.

use std::sync::Arc;

use longshore_catalog::catalog::Backup;
use longshore_config::registry::Registry;
use longshore_core::Result;
use longshore_core::drill::differences_error;
use longshore_core::event::ignore;
use longshore_core::manifest::{Format, Manifest};
use longshore_core::stage::{Verify, VerifyReport};
use longshore_core::stream::ByteStream;
use serde_json::{Map, Value};

use crate::stages::site_without_server;

/// Compares the findings of a verification with the record of the dump, and returns true if there
/// was anything to compare. A difference is an error of kind
/// [`Corrupt`](longshore_core::Kind::Corrupt).
pub(crate) fn compare_findings(
    backup: &Backup,
    recorded: Option<&Map<String, Value>>,
    verifiers: &[Arc<dyn Verify>],
    findings: &[VerifyReport],
) -> Result<bool> {
    let found: Map<String, Value> = findings.iter().flat_map(|found| found.details.clone()).collect();
    let Some(recorded) = recorded.filter(|_| !found.is_empty()) else { return Ok(false) };
    let compared = verifiers.iter().find_map(|verifier| verifier.differences(&backup.manifest, recorded, &found));
    match compared {
        None => Ok(false),
        Some(differences) if differences.is_empty() => Ok(true),
        Some(differences) => Err(differences_error(backup.name.as_str(), &differences)),
    }
}

/// Returns the plaintext for a restore. The stream of a base backup is verified, since no program
/// checks its files afterwards. The stream of a dump fails if its definitions differ from the
/// recorded ones.
pub(crate) fn checked_plaintext(
    registry: &Registry,
    manifest: &Manifest,
    recorded: Option<&Map<String, Value>>,
    plaintext: ByteStream,
) -> Result<ByteStream> {
    let format = &manifest.artifact.format;
    let verifier = || registry.default_verifier(format, &site_without_server());
    match recorded {
        _ if *format == Format::Base => {
            Ok(verifier()?.verify(&manifest.subject, format.clone(), plaintext, &ignore()).stream)
        }
        Some(recorded) => Ok(verifier()?.expect_recorded(manifest, recorded, plaintext)),
        None => Ok(plaintext),
    }
}
