//! The settings.

longshore_ssh::settings! {
    /// `{ type = "ssh", … }`: a directory of an account with a POSIX shell.
    ///
    /// The directory is never created, so that an unmounted disk is detected.
    pub struct Ssh {
        /// The absolute path of the directory.
        pub path: String,
    }
}
