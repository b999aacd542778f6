//! The settings as they are written.

longshore_ssh::settings! {
    /// `{ type = "ssh", … }`: a directory of an account with a POSIX shell.
    ///
    /// The directory is never made, so that a disk that is not mounted there is noticed.
    pub struct Ssh {
        /// The directory, absolute.
        pub path: String,
    }
}
