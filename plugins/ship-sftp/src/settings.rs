//! The settings.

longshore_ssh::settings! {
    /// `{ type = "sftp", … }`: a directory of an account with SFTP access.
    ///
    /// The directory is never created, so that an unmounted disk is detected.
    pub struct Sftp {
        /// The absolute path of the directory, as seen by the account, such as within a chroot.
        pub path: String,
    }
}
