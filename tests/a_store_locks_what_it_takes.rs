//! A bucket with Object Lock locks each backup for the minimum time that the retention policy
//! guarantees.

use longshore_testkit::ceph::{Ceph, Keeps};

use crate::support::{Job, Workshop};

const LOCK: &str = "object_lock = { mode = 'governance', retain = 'policy' }";
const GLOBALS: &str = "[{ type = 'pg_dumpall' }]";

#[test]
fn what_the_store_has_locked_is_retained_until_then_and_no_failure() {
    let (workshop, ceph) = (Workshop::new(), Ceph::start());
    let elsewhere = [("offsite", workshop.in_keeping(&ceph, "acme", Keeps::Locks, LOCK))];
    let within = "retention = 'standard'\n[retention.standard]\nkeep_within = '2d'";
    workshop.configure(&Job { dump: GLOBALS, elsewhere: &elsewhere, more: within, ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    workshop.longshore(&["run"]).expect(0);
    // Under this policy alone, the older backup would be removed.
    let last = "retention = 'standard'\n[retention.standard]\nkeep_last = 1\nmin_age = '1s'";
    workshop.configure(&Job { dump: GLOBALS, elsewhere: &elsewhere, more: last, ..Job::default() });
    std::thread::sleep(std::time::Duration::from_secs(2));
    let offsite = &["prune", "--destination", "offsite"];
    workshop.longshore(offsite).expect(0).says("retained by the store until").keeps_quiet_about("removed");
    let all = workshop.json(&["list", "--json"]);
    let at =
        |place: &str| all.as_array().unwrap().iter().filter(|backup| backup["destinations"][place] == "whole").count();
    assert_eq!((at("local"), at("offsite")), (2, 2));
    // A local folder has no locks.
    workshop.longshore(&["prune", "--destination", "local"]).expect(0).says("removed");
    let (versions, markers) = ceph.versions("acme");
    assert!(versions >= 4 && markers == 0, "{versions} versions, {markers} markers");
}

#[test]
fn a_policy_that_promises_no_time_cannot_say_how_long_to_lock() {
    let (workshop, ceph) = (Workshop::new(), Ceph::start());
    let elsewhere = [("offsite", workshop.in_keeping(&ceph, "acme", Keeps::Locks, LOCK))];
    for more in ["", "retention = 'standard'\n[retention.standard]\nkeep_daily = 30"] {
        workshop.configure(&Job { dump: GLOBALS, elsewhere: &elsewhere, more, ..Job::default() });
        workshop.longshore(&["check"]).expect(2).says("guarantees a minimum time").says("keep_within");
        workshop.longshore(&["run"]).expect(3).says("guarantees a minimum time");
    }
    assert_eq!(ceph.versions("acme"), (0, 0), "an object was uploaded without a lock");
}
