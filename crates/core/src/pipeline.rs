//! Composed stages: [`Pipeline::back_up`] makes a backup, [`open`] and [`read_back`] read one, and
//! [`copy`] copies one to another destination.

mod across;
mod homeward;
mod outward;

pub use across::{copy, is_damage, prove, replace};
pub use homeward::{Depth, ReadBack, Source, fetch, open, open_from, read_back, undo};
pub use outward::{Delivery, Destination, Order, Pipeline, Shipped, seal_json};
