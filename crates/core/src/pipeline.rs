//! Stages composed: [`Pipeline::back_up`] takes a dump outward, [`open`] and [`read_back`] bring a backup home, [`copy`] takes one across.

mod across;
mod homeward;
mod outward;

pub use across::{copy, is_damage, prove, replace};
pub use homeward::{Depth, ReadBack, Source, fetch, open, open_from, read_back, undo};
pub use outward::{Delivery, Destination, Order, Pipeline, Shipped, seal_json};
