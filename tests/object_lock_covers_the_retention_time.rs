//! A bucket with Object Lock locks each backup for the minimum time that the retention policy
//! guarantees.

use longshore_testkit::ceph::{Ceph, Protection};

use crate::support::{Job, TestEnv};

const LOCK: &str = "object_lock = { mode = 'governance', retain = 'policy' }";
const GLOBALS: &str = "[{ type = 'pg_dumpall' }]";

#[test]
fn locked_backups_are_retained_without_failure() {
    let (test_env, ceph) = (TestEnv::new(), Ceph::start());
    let remote = [("offsite", test_env.in_ceph_bucket(&ceph, "acme", Protection::ObjectLock, LOCK))];
    let within = "retention = 'standard'\n[retention.standard]\nkeep_within = '2d'";
    test_env.configure(&Job { dump: GLOBALS, remote: &remote, more: within, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    test_env.longshore(&["run"]).expect(0);
    // Under this policy alone, the older backup would be removed.
    let last = "retention = 'standard'\n[retention.standard]\nkeep_last = 1\nmin_age = '1s'";
    test_env.configure(&Job { dump: GLOBALS, remote: &remote, more: last, ..Job::default() });
    std::thread::sleep(std::time::Duration::from_secs(2));
    let offsite = &["prune", "--destination", "offsite"];
    test_env.longshore(offsite).expect(0).shows("retained by the store until").omits("removed");
    let all = test_env.json(&["list", "--json"]);
    let at =
        |place: &str| all.as_array().unwrap().iter().filter(|backup| backup["destinations"][place] == "whole").count();
    assert_eq!((at("local"), at("offsite")), (2, 2));
    // A local folder has no locks.
    test_env.longshore(&["prune", "--destination", "local"]).expect(0).shows("removed");
    let (versions, markers) = ceph.versions("acme");
    assert!(versions >= 4 && markers == 0, "{versions} versions, {markers} markers");
}

#[test]
fn policy_without_minimum_time_cannot_lock() {
    let (test_env, ceph) = (TestEnv::new(), Ceph::start());
    let remote = [("offsite", test_env.in_ceph_bucket(&ceph, "acme", Protection::ObjectLock, LOCK))];
    for more in ["", "retention = 'standard'\n[retention.standard]\nkeep_daily = 30"] {
        test_env.configure(&Job { dump: GLOBALS, remote: &remote, more, ..Job::default() });
        test_env.longshore(&["check"]).expect(2).shows("guarantees a minimum time").shows("keep_within");
        test_env.longshore(&["run"]).expect(3).shows("guarantees a minimum time");
    }
    assert_eq!(ceph.versions("acme"), (0, 0), "an object was uploaded without a lock");
}
