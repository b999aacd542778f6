//! Starts a cluster, prints its data directory, and waits until it is killed, like a test.
#![allow(clippy::print_stdout, reason = "the test reads the output")]

use std::time::Duration;

use longshore_testkit::cluster::{Cluster, Installation};

fn main() {
    let cluster = Cluster::start(&Installation::system(), &[]);
    println!("data: {}", cluster.data_dir().display());
    std::thread::sleep(Duration::from_secs(60));
}
