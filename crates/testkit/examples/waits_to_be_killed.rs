//! Starts a cluster, says where its data is, and waits: what a test that is killed looks like from outside.
#![allow(clippy::print_stdout, reason = "it is how the other process learns of it")]

use std::time::Duration;

use longshore_testkit::cluster::{Cluster, Installation};

fn main() {
    let cluster = Cluster::start(&Installation::system(), &[]);
    println!("data: {}", cluster.data_dir().display());
    std::thread::sleep(Duration::from_secs(60));
}
