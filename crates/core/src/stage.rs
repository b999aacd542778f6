//! The stages of a backup, from dump to restore, as traits that plugins implement.
//!
//! ```text
//! backup     Dump → Verify → Encrypt → Ship        public keys and write-only credentials suffice
//! restore    fetch → Decrypt → Verify → Restore    needs an identity and read credentials
//! drill      Scratch → restore → Examine           the same, and a cluster to restore to
//! ```
//! The traits are split by the secrets that a host may hold. Compression, digests and fan-out apply
//! to all stages, so they are stream adapters and not options of a trait. An optional capability
//! of a destination (locking, free space) is a trait of its own, named in [`Capabilities`].

mod drill;
mod dump;
mod encrypt;
mod header;
mod restore;
mod snapshot;
mod store;
mod verify;
mod wal_source;

pub use self::drill::{Examine, Scratch, ScratchCluster, ScratchFolder, StructurePart};
pub use self::dump::{
    Archiving, Dump, DumpNotes, Dumped, EndedSegment, Incremental, Parent, RestorePrograms, WalPosition,
};
pub use self::encrypt::{Decrypt, Encrypt};
pub use self::header::{FileKey, OpenHeader, WriteHeader};
pub use self::restore::{Restore, RestoreRequest, Restored};
pub use self::snapshot::{HeldSnapshot, KeptSnapshot, SnapshotContent, SnapshotFiles, SnapshotMember, Snapshots};
pub use self::store::{
    Capabilities, Entry, ExclusiveLock, FreeSpace, IncompleteUploads, Leftover, Limits, ObjectLocks, Ship, Signatures,
    Store,
};
pub use self::verify::{DEFINITIONS, HEADER_BYTES, UNKNOWN_FORMAT_HINT, Verified, Verify, VerifyReport, verifiers_of};
pub use self::wal_source::{Answer, WalConnection, WalPart, WalServer, WalSlot, WalSource, WalStream};
pub use crate::discovery::{DiscoveredSubject, Discovery, RunNeeds};
