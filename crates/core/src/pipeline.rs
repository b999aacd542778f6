//! Composed stages: [`Pipeline::back_up`] makes a backup, [`open`] and [`read_back`] read one.

mod homeward;
mod outward;
mod record;

pub use homeward::{Depth, ReadBack, Source, fetch, open, open_from, read_back, undo};
pub use outward::{Delivery, Destination, Order, Pipeline, Shipped, seal_json};
pub use record::{has_file, ship_record, stored_bytes};
