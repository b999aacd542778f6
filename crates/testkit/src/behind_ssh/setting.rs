//! The settings: parsed, or rejected with the problem.

use longshore_core::Kind;
use serde_json::json;

use super::Reach;

pub async fn a_host_and_a_path_are_enough(reach: &Reach) {
    assert!((reach.build)(json!({ "host": "backup@backup1", "path": "/srv/backups" })).unwrap().is_ok());
    let error = (reach.build)(json!({ "host": "backup@backup1" })).map(drop).unwrap_err();
    assert!(error.contains("path"), "{error}");
}

pub async fn an_unknown_setting_is_an_error_that_names_the_known_ones(reach: &Reach) {
    let error = (reach.build)(json!({ "host": "a", "path": "/a", "pfad": "x" })).map(drop).unwrap_err();
    assert!(error.contains("pfad") && error.contains("identity_file") && error.contains("path"), "{error}");
}

pub async fn what_cannot_work_names_its_setting(reach: &Reach) {
    for (wrong, subject) in [
        (json!({ "host": "-v", "path": "/srv" }), "host"),
        (json!({ "host": "a", "path": "srv" }), "path"),
        (json!({ "host": "a", "path": "/srv", "jump": [""] }), "jump"),
    ] {
        let error = (reach.build)(wrong).unwrap().map(drop).unwrap_err();
        assert_eq!((error.kind(), error.subject()), (Kind::Usage, subject));
        assert!(error.remedy().is_some());
    }
}
