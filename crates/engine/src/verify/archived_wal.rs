//! Reading archived WAL back: the digest of each file, and each segment up to its last record.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::Utc;
use futures_util::{StreamExt, stream};
use longshore_core::event::Event;
use longshore_core::key::encode_name;
use longshore_core::manifest::Verification;
use longshore_core::pipeline::Depth;
use longshore_core::subject::Subject;
use longshore_core::wal_key::{WalFolder, WalKey};
use longshore_core::{Kind, Result};
use longshore_pg_wal::ArchiveName;
use longshore_pg_wal::segment::SegmentSize;

use super::{BackupVerifier, DAY_SECONDS, READS, Scope, VerifyResult, failed_result, is_missing};
use crate::catalogs::Catalogued;
use crate::wal::archive::ArchiveAt;
use crate::wal::fetch::Reader;
use crate::wal::inventory::{ArchivedFile, segment_size, timelines};

impl BackupVerifier<'_> {
    /// Verifies the archives of all configured clusters at one destination. Encrypted files are
    /// left out if there is no identity: nothing but their content shows their damage.
    pub(super) async fn verify_wal(&self, at: &Catalogued, scope: &Scope) -> Vec<VerifyResult> {
        let mut all = Vec::new();
        for cluster in self.config.wal.keys() {
            let prefix = format!("{}/", encode_name(cluster));
            let mut archives: BTreeMap<u64, Vec<ArchivedFile>> = BTreeMap::new();
            let entries = at.catalog.wal.iter().filter(|entry| entry.key.as_str().starts_with(&prefix));
            for file in entries.filter_map(ArchivedFile::of) {
                archives.entry(file.key.system_identifier).or_default().push(file);
            }
            for (system_identifier, files) in archives {
                let folder = WalFolder { cluster: cluster.clone(), system_identifier };
                match self.verify_archive(at, scope, folder, &files).await {
                    Ok(results) => all.extend(results),
                    Err(error) => all.push(failed_result(&at.name, &format!("{cluster}/wal"), &error)),
                }
            }
        }
        all
    }

    /// Verifies one archive. Returns a result for each file with an error, and one for all others.
    async fn verify_archive(
        &self,
        at: &Catalogued,
        scope: &Scope,
        folder: WalFolder,
        files: &[ArchivedFile],
    ) -> Result<Vec<VerifyResult>> {
        let name = format!("{}/wal/{}", folder.cluster, folder.system_identifier);
        let recorded = recorded_size(at, &folder);
        let mut reader = Reader {
            registry: self.registry,
            identities: self.identities,
            system_identifier: folder.system_identifier,
            size: recorded.unwrap_or_else(|| segment_size(files)),
        };
        let mut selected = select(scope, &folder, files);
        let readable = |key: &&WalKey| match reader.encryption(key) {
            Ok(None) => true,
            Ok(Some(encryption)) => self.registry.can_decrypt(encryption, self.identities),
            Err(_) => !self.identities.is_empty(),
        };
        if let (Scope::Named(_), Some(first), false) = (scope, selected.first(), selected.iter().any(readable)) {
            let encryption = reader.encryption(first)?.unwrap_or_default();
            return Err(self.registry.missing_decryption(encryption, None, &name));
        }
        selected.retain(readable);
        let archive = ArchiveAt::new(&at.name, Arc::clone(&at.store), folder);
        if recorded.is_none() {
            // The names alone permit larger segments, too.
            for key in selected.iter().filter(|key| matches!(key.name, ArchiveName::Segment(_))).take(SIZE_READS) {
                if let Ok(size) = reader.size_of(&archive, key).await {
                    reader.size = size;
                    break;
                }
            }
        }
        let reads = selected.into_iter().map(async |key| (&key.key, reader.read(&archive, key).await));
        let (mut all, mut bytes, mut count) = (Vec::new(), 0, 0);
        let mut reads = stream::iter(reads).buffered(READS);
        while let Some((key, read)) = reads.next().await {
            match read {
                Ok(content) => {
                    (bytes, count) = (bytes + content.len() as u64, count + 1);
                    self.observer.event(&Event::BytesRead(content.len() as u64));
                }
                // It was pruned meanwhile.
                Err(error) if is_missing(&error) => {}
                Err(error) if error.kind() == Kind::Corrupt => {
                    let hint = "if another destination has it, delete this file, and run `longshore sync`; else make a base backup now";
                    all.push(failed_result(&at.name, key.as_str(), &error.hint(hint)));
                }
                Err(error) => all.push(failed_result(&at.name, key.as_str(), &error)),
            }
        }
        if count > 0 {
            let method = "read to the last record".to_owned();
            let totals = [("files".to_owned(), count)].into();
            let by = format!("longshore {}", env!("CARGO_PKG_VERSION"));
            all.push(VerifyResult {
                destination: at.name.clone(),
                name,
                bytes,
                depth: Some(Depth::Decoded),
                verified: vec![Verification { by, method, totals }],
                compared: false,
                error: None,
                damaged: false,
                refused: false,
                unmarked: None,
            });
        }
        Ok(all)
    }
}

/// The most segments that are read to find their size: one may be damaged.
const SIZE_READS: usize = 3;

/// Returns the size of a segment, if a base backup of the cluster records it.
fn recorded_size(at: &Catalogued, folder: &WalFolder) -> Option<SegmentSize> {
    let identifier = folder.system_identifier.to_string();
    let mut recorded = at.catalog.backups().map(|backup| &backup.manifest).filter(|manifest| {
        manifest.subject == Subject::Base && manifest.cluster.server.system_identifier.as_ref() == Some(&identifier)
    });
    recorded.find_map(|manifest| SegmentSize::new(manifest.base.as_ref()?.wal_segment_bytes).ok())
}

/// Returns the files of an archive that the scope selects.
fn select<'a>(scope: &Scope, folder: &WalFolder, files: &'a [ArchivedFile]) -> Vec<&'a WalKey> {
    let keys = files.iter().map(|file| &file.key);
    match scope {
        Scope::All => keys.collect(),
        Scope::Sample(percent) => {
            let day = Utc::now().timestamp().unsigned_abs() / DAY_SECONDS;
            keys.filter(|key| percent.includes(key.key.as_str(), day)).collect()
        }
        Scope::Newest => {
            let last: Vec<String> = timelines(files).into_iter().map(|timeline| timeline.last).collect();
            keys.filter(|key| last.contains(&key.name.to_string())).collect()
        }
        Scope::Named(words) if *words == format!("{}/wal", folder.cluster) => keys.collect(),
        Scope::Named(_) => Vec::new(),
    }
}
