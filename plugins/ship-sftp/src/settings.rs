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
