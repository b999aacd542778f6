//! Stages composed: [`Pipeline::back_up`] takes a dump outward, [`open`] and [`read_back`] bring a backup home.

mod homeward;
mod outward;

pub use homeward::{Depth, ReadBack, open, read_back};
pub use outward::{Delivery, Destination, Order, Pipeline, Shipped};
