//! Files of other programs: recognizing them, and making backups of them.

pub mod detect;
pub mod take;
