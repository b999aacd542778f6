//! Composed stages: [`Pipeline::back_up`] makes a backup, [`open`] and [`read_back`] read one.

mod backup;
mod fetch;
mod record;
mod unproven;

pub use backup::{BackupSpec, Delivery, Destination, NeededWal, Pipeline, Shipped, encrypt_json};
pub use fetch::{
    Depth, FullBackup, ReadBack, Source, decode, fetch, open, open_content, open_from, read_back, read_back_with,
};
pub use record::{has_file, ship_record, sign_record, stored_bytes};
pub use unproven::{Cause, decrypt_stored, unproven};
