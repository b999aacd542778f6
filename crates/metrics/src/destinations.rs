//! The samples of destinations.

use longshore_engine::status::Status;

use crate::families::Families;
use crate::metric;

pub(crate) fn add(families: &mut Families, status: &Status) {
    for destination in &status.destinations {
        let labels = vec![("destination", destination.name.clone())];
        let is_up = destination.error.is_none();
        families.add(metric::DESTINATION_UP, &labels, if is_up { 1.0 } else { 0.0 });
        if is_up {
            families.add(metric::DESTINATION_USED, &labels, destination.bytes as f64);
            families.add_known(metric::DESTINATION_FREE, &labels, destination.free_bytes.map(|bytes| bytes as f64));
            families.add_time(metric::LOOK, &labels, Some(status.time));
        }
    }
}
