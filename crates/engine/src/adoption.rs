//! Files of other programs: recognizing them, and making backups of them.

pub mod detect;
mod directory;
mod hard_links;
pub mod take;
