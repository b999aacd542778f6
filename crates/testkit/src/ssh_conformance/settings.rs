//! The settings: parsed, or rejected with the problem.

use longshore_core::Kind;
use longshore_core::plugin::StoreContext;
use serde_json::json;

use super::SshPlugin;

pub async fn requires_only_host_and_path(plugin: &SshPlugin) {
    assert!(
        (plugin.build)(json!({ "host": "backup@backup1", "path": "/srv/backups" }), &StoreContext::default())
            .unwrap()
            .is_ok()
    );
    let error = (plugin.build)(json!({ "host": "backup@backup1" }), &StoreContext::default()).map(drop).unwrap_err();
    assert!(error.contains("path"), "{error}");
}

pub async fn unknown_setting_error_lists_known_settings(plugin: &SshPlugin) {
    let error = (plugin.build)(json!({ "host": "a", "path": "/a", "pfad": "x" }), &StoreContext::default())
        .map(drop)
        .unwrap_err();
    assert!(error.contains("pfad") && error.contains("identity_file") && error.contains("path"), "{error}");
}

pub async fn invalid_values_name_their_setting(plugin: &SshPlugin) {
    for (wrong, subject) in [
        (json!({ "host": "-v", "path": "/srv" }), "host"),
        (json!({ "host": "a", "path": "srv" }), "path"),
        (json!({ "host": "a", "path": "/srv", "jump": [""] }), "jump"),
    ] {
        let error = (plugin.build)(wrong, &StoreContext::default()).unwrap().map(drop).unwrap_err();
        assert_eq!((error.kind(), error.subject()), (Kind::Usage, subject));
        assert!(error.remedy().is_some());
    }
}
