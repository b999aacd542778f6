//! The settings as they are written.

longshore_ssh::settings! {
    /// `{ type = "sftp", … }`: a directory of an account that may use SFTP.
    ///
    /// The directory is never made, so that a disk that is not mounted there is noticed.
    pub struct Sftp {
        /// The directory, absolute as the account sees it: in a chroot, from there on.
        pub path: String,
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::Kind;
    use longshore_core::plugin::Plugin;
    use serde_json::{Value, json};

    use super::Sftp;

    fn read(settings: Value) -> Result<Sftp, String> {
        serde_json::from_value(settings).map_err(|error| error.to_string())
    }

    #[test]
    fn a_host_and_a_path_are_enough() {
        assert!(read(json!({ "host": "backup@backup1", "path": "/srv/backups" })).unwrap().build(&()).is_ok());
        assert!(read(json!({ "host": "backup@backup1" })).unwrap_err().contains("path"));
    }

    #[test]
    fn an_unknown_setting_is_an_error_that_names_the_known_ones() {
        let error = read(json!({ "host": "a", "path": "/a", "pfad": "x" })).unwrap_err();
        assert!(error.contains("pfad") && error.contains("identity_file") && error.contains("path"), "{error}");
    }

    #[test]
    fn what_cannot_work_names_its_setting() {
        for (wrong, subject) in [
            (json!({ "host": "-v", "path": "/srv" }), "host"),
            (json!({ "host": "a", "path": "srv" }), "path"),
            (json!({ "host": "a", "path": "/srv", "jump": [""] }), "jump"),
        ] {
            let error = read(wrong).unwrap().build(&()).map(drop).unwrap_err();
            assert_eq!((error.kind(), error.subject()), (Kind::Usage, subject));
            assert!(error.remedy().is_some());
        }
    }
}
