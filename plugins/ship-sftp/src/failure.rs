//! Conversion of a server's responses to errors.

use longshore_core::{Error, Kind, Stage};
use longshore_ssh::failure::connection_lost;
use openssh_sftp_client::Error as ClientError;
use openssh_sftp_client::error::SftpErrorKind;

/// Returns the status code of a response; none if the session was lost without a response.
pub(crate) fn status(error: &ClientError) -> Option<SftpErrorKind> {
    match error {
        ClientError::SftpError(status, _) => Some(*status),
        _ => None,
    }
}

/// Returns true if a response proves that the file, or its folder, does not exist.
pub(crate) fn is_not_found(error: &ClientError) -> bool {
    matches!(status(error), Some(SftpErrorKind::NoSuchFile))
}

/// Returns the error for a response about `subject`.
pub(crate) fn to_error(host: &str, subject: &str, message: &str, error: ClientError) -> Error {
    let known = |kind, message: &str, hint: &str| Error::new(Stage::Ship, kind, subject, message).hint(hint);
    let converted = match (status(&error), &error) {
        (Some(SftpErrorKind::PermDenied), _) => known(
            Kind::Denied,
            "the account lacks permission",
            "grant the account write access, or use a directory that it owns",
        ),
        (Some(SftpErrorKind::NoSuchFile), _) => known(
            Kind::Failed,
            message,
            "it was removed in the meantime, or its disk was unmounted: check the mount there",
        ),
        (Some(SftpErrorKind::OpUnsupported), _) | (_, ClientError::UnsupportedExtension(_)) => known(
            Kind::Usage,
            "the SFTP server does not support this operation",
            "use OpenSSH's SFTP server there, or type = \"ssh\" with an account that has a shell",
        ),
        (Some(_), _) => known(Kind::Failed, message, "the server reports no reason: check its log and `df` there"),
        (None, _) => connection_lost(host),
    };
    converted.because(error)
}
