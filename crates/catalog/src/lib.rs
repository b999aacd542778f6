//! The records in a destination: reads the catalog, writes marks and drills, copies backups.
//!
//! | module | contents |
//! | --- | --- |
//! | [`catalog`] | the backups of a destination, as listed by their manifests |
//! | [`adopt`], [`adopted`] | import of dated files of other programs |
//! | [`mark`] | reading and writing marks |
//! | [`drill`] | reading and writing the records of drills |
//! | [`copy`](mod@copy) | copying a backup from one destination to another |
//! | [`signature`] | reading the signatures of records |
//! | [`record_cache`] | the records of a destination that were read before |

pub mod adopt;
pub mod adopted;
pub mod catalog;
pub mod copy;
pub mod drill;
pub mod mark;
pub mod record_cache;
pub mod signature;
