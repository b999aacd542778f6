//! Temporary stores are independent of each other, and leave nothing behind.

use std::net::TcpStream;
use std::thread;

use longshore_testkit::ceph::{Ceph, Protection};

#[test]
fn stores_are_independent_and_stop_on_drop() {
    let starts = [(); 2].map(|()| thread::spawn(Ceph::start));
    let stores = starts.map(|start| start.join().unwrap());
    stores[0].bucket("acme", Protection::ObjectLock);
    assert_eq!(stores[0].versions("acme"), (0, 0));
    let missing = stores[1].request("GET", "acme", "versions=", "", &[]);
    assert!(missing.status == 404 && missing.text.contains("NoSuchBucket"), "{missing:?}");
    let addresses = [0, 1].map(|store: usize| stores[store].address());
    drop(stores);
    for address in addresses {
        TcpStream::connect(address).unwrap_err();
    }
}
