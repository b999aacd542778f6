//! Conversion of a server's responses to errors.

use longshore_core::{Error, Kind, Stage};
use longshore_ssh::failure::lost;
use openssh_sftp_client::Error as Answer;
use openssh_sftp_client::error::SftpErrorKind;

/// Returns the kind of a response; none if the session was lost without a response.
pub(crate) fn kind(error: &Answer) -> Option<SftpErrorKind> {
    match error {
        Answer::SftpError(kind, _) => Some(*kind),
        _ => None,
    }
}

/// Returns true if a response proves that the file, or its folder, does not exist.
pub(crate) fn is_absent(error: &Answer) -> bool {
    matches!(kind(error), Some(SftpErrorKind::NoSuchFile))
}

/// Returns the error for a response about `subject`.
pub(crate) fn of(host: &str, subject: &str, message: &str, error: Answer) -> Error {
    let told = |kind, message: &str, hint: &str| Error::new(Stage::Ship, kind, subject, message).hint(hint);
    let meant = match (kind(&error), &error) {
        (Some(SftpErrorKind::PermDenied), _) => told(
            Kind::Denied,
            "the account lacks permission",
            "grant the account write access, or use a directory that it owns",
        ),
        (Some(SftpErrorKind::NoSuchFile), _) => told(
            Kind::Failed,
            message,
            "it was removed in the meantime, or its disk was unmounted: check the mount there",
        ),
        (Some(SftpErrorKind::OpUnsupported), _) | (_, Answer::UnsupportedExtension(_)) => told(
            Kind::Usage,
            "the SFTP server does not support this operation",
            "use OpenSSH's SFTP server there, or type = \"ssh\" with an account that has a shell",
        ),
        (Some(_), _) => told(Kind::Failed, message, "the server reports no reason: check its log and `df` there"),
        (None, _) => lost(host),
    };
    meant.because(error)
}
