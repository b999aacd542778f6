//! The conversion of a client's error to an error with a kind, a short cause and a hint.
//!
//! `object_store` reports an error as one long line with the address and the whole response.

use std::error::Error as StdError;
use std::fmt;

use http::StatusCode;
use longshore_core::{Error, Kind, Stage};
use object_store::client::{HttpError, HttpErrorKind};

use crate::location::Location;

/// The prefix with which `object_store` reports a server's response.
pub(crate) const RESPONSE_PREFIX: &str = "Server returned non-2xx status code: ";
/// The addresses at which cloud instances request credentials when none are configured.
const METADATA_ADDRESSES: [&str; 3] = ["169.254.169.254", "169.254.170.2", "metadata.google.internal"];

/// The error codes for a body that was changed in transit. Stores send them with status 400, which
/// clients do not retry.
const CORRUPTION_CODES: [&str; 6] = [
    "BadDigest",
    "XAmzContentSHA256Mismatch",
    "XAmzContentChecksumMismatch",
    "InvalidDigest",
    "IncompleteBody",
    "Md5Mismatch",
];

/// Returns true if the response reports a body that was changed in transit, which is worth a retry.
pub(crate) fn reports_corruption(status: StatusCode, body: &[u8]) -> bool {
    let contains = |code: &&str| -> bool {
        let element = format!("<Code>{code}</Code>");
        body.windows(element.len()).any(|window| window == element.as_bytes())
    };
    status == StatusCode::BAD_REQUEST && CORRUPTION_CODES.iter().any(contains)
}

/// A server's error response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ErrorResponse {
    status: u16,
    code: String,
    message: String,
}

impl ErrorResponse {
    /// Parses the server's response from an error, if the error contains one.
    pub(crate) fn parse(error: &object_store::Error) -> Option<Self> {
        let text = chain(error).map(|error| error.to_string()).find(|text| text.starts_with(RESPONSE_PREFIX))?;
        let text = text.strip_prefix(RESPONSE_PREFIX)?;
        let status = text.get(..3)?.parse().ok()?;
        let element = |name: &str| {
            let (_, rest) = text.split_once(&format!("<{name}>"))?;
            let (content, _) = rest.split_once(&format!("</{name}>"))?;
            // The first line is the message; Azure adds identifiers and times.
            Some(content.lines().next().unwrap_or_default().chars().take(200).collect::<String>())
        };
        let code = element("Code").unwrap_or_default();
        // The connector replaces this status by 503 to cause a retry.
        let status = if CORRUPTION_CODES.contains(&code.as_str()) { 400 } else { status };
        Some(Self { status, code, message: element("Message").unwrap_or_default() })
    }

    /// Returns true if another client was writing the same key at the same time.
    pub(crate) fn is_race(&self) -> bool {
        self.code == "ConditionalRequestConflict"
    }

    fn kind(&self) -> Kind {
        match self.status {
            301 | 307 | 308 => Kind::Usage,
            400 if self.is_corruption() => Kind::Unavailable,
            400 if self.is_wrong_region() => Kind::Usage,
            400 if self.is_wrong_credentials() => Kind::Denied,
            401 | 403 => Kind::Denied,
            404 => Kind::NotFound,
            409 if self.code.starts_with("BlobImmutable") => Kind::Refused,
            304 | 409 | 412 => Kind::AlreadyExists,
            416 => Kind::Corrupt,
            501 | 507 => Kind::Failed,
            408 | 429 | 500.. => Kind::Unavailable,
            _ => Kind::Failed,
        }
    }

    /// Returns true if the bucket does not exist.
    fn is_missing_bucket(&self) -> bool {
        ["NoSuchBucket", "ContainerNotFound", "ResourceNotFound"].contains(&self.code.as_str())
            || self.message.contains("bucket does not exist")
    }

    fn is_wrong_credentials(&self) -> bool {
        ["InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "AuthenticationFailed"]
            .contains(&self.code.as_str())
    }

    fn is_corruption(&self) -> bool {
        CORRUPTION_CODES.contains(&self.code.as_str())
    }

    fn is_wrong_region(&self) -> bool {
        ["AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException"]
            .contains(&self.code.as_str())
    }

    fn is_clock_skew(&self) -> bool {
        self.code == "RequestTimeTooSkewed"
    }
}

impl fmt::Display for ErrorResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store answered {}", self.status)?;
        for (separator, text) in [(" ", &self.code), (": ", &self.message)] {
            if !text.is_empty() {
                write!(f, "{separator}{}", longshore_core::error::printable(text))?;
            }
        }
        Ok(())
    }
}

impl StdError for ErrorResponse {}

/// Converts a client's error: the error is about `subject`, its kind follows from the server's
/// response, and it has a hint.
pub fn convert_error(location: &Location, subject: &str, message: &str, error: object_store::Error) -> Error {
    let vocabulary = location.vocabulary;
    let new_error = |kind, message: &str| Error::new(Stage::Ship, kind, subject, message);
    if let Some(response) = ErrorResponse::parse(&error) {
        let kind = response.kind();
        let error = match kind {
            Kind::NotFound if response.is_missing_bucket() => {
                let missing = format!("there is no {} \"{}\"", vocabulary.bucket, location.bucket());
                Error::new(Stage::Ship, kind, location.url(), missing)
                    .hint(format!("create it, or correct {}; Longshore does not create one", vocabulary.bucket))
            }
            Kind::NotFound => new_error(kind, "not found").hint("run `longshore list` to see the backups"),
            Kind::AlreadyExists => already_exists(subject),
            Kind::Denied if response.is_clock_skew() => {
                new_error(kind, message).hint("set this host's clock: requests are signed with the time")
            }
            Kind::Denied if response.is_wrong_credentials() => new_error(kind, message).hint(vocabulary.credentials),
            Kind::Denied => new_error(kind, &format!("not permitted: {message}")).hint(vocabulary.credentials),
            Kind::Refused => {
                new_error(kind, message).hint("a policy of the store keeps it; remove it after the policy expires")
            }
            Kind::Usage => new_error(kind, message).hint(vocabulary.address),
            Kind::Unavailable if response.is_corruption() => new_error(kind, message)
                .hint("every attempt changed bytes on the way: check the network and this host's memory"),
            Kind::Unavailable => new_error(kind, &format!("the store is unavailable: {message}"))
                .hint("the store has a problem or limits requests: try again later"),
            _ => new_error(kind, message),
        };
        return error.because(response);
    }
    let messages: Vec<_> = chain(&error).map(|error| error.to_string()).collect();
    let innermost = messages.last().cloned().unwrap_or_default();
    if messages.iter().any(|message| METADATA_ADDRESSES.iter().any(|address| message.contains(address))) {
        return new_error(
            Kind::Denied,
            "no credentials were found, and this host is not a cloud instance that provides them",
        )
        .hint(vocabulary.credentials)
        .because(innermost);
    }
    match chain(&error).find_map(|error| error.downcast_ref::<HttpError>()) {
        // The failed operation does not matter if the connection failed.
        Some(error) if error.kind() == HttpErrorKind::Connect => {
            new_error(Kind::Unavailable, "the store cannot be reached").hint(vocabulary.address).because(innermost)
        }
        Some(_) => new_error(Kind::Unavailable, message).hint(vocabulary.address).because(innermost),
        None if messages.iter().any(|message| message.contains("without LOCATION")) => {
            new_error(Kind::Usage, message).hint(vocabulary.address).because(innermost)
        }
        None => new_error(Kind::Failed, message).because(innermost),
    }
}

/// Returns the error for a key that already exists.
pub(crate) fn already_exists(subject: &str) -> Error {
    Error::new(Stage::Ship, Kind::AlreadyExists, subject, "already exists, and nothing is ever overwritten")
        .hint("another run used the same time, or another host writes to the same place: give each host its own prefix")
}

/// Returns true if the request was sent and no response came, so that its outcome is unknown.
pub(crate) fn lacks_response(error: &object_store::Error) -> bool {
    let kind = chain(error).find_map(|error| Some(error.downcast_ref::<HttpError>()?.kind()));
    kind.is_some_and(|kind| kind != HttpErrorKind::Connect)
}

fn chain<'a>(error: &'a object_store::Error) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some::<&'a (dyn StdError + 'static)>(error), |error| (*error).source())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::location::Vocabulary;

    #[derive(Debug)]
    struct TextError(String);

    impl fmt::Display for TextError {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.0)
        }
    }

    impl StdError for TextError {}

    fn converted(text: String) -> Error {
        let vocabulary =
            Vocabulary { bucket: "bucket", credentials: "see the credentials", address: "see the address" };
        let location = Location::new("s3://", "acme", None, vocabulary).unwrap();
        let error = object_store::Error::Generic { store: "S3", source: Box::new(TextError(text)) };
        convert_error(&location, "s3://acme/x", "cannot send it", error)
    }

    fn response(status: &str, code: &str) -> Error {
        converted(format!(
            "{RESPONSE_PREFIX}{status}: <?xml?><Error><Code>{code}</Code><Message>So it is.\nId: 17</Message><Key>x</Key></Error>"
        ))
    }

    #[test]
    fn converts_responses_to_kind_cause_and_hint() {
        for (status, code, kind, hint) in [
            ("403 Forbidden", "AccessDenied", Kind::Denied, "see the credentials"),
            ("403 Forbidden", "RequestTimeTooSkewed", Kind::Denied, "clock"),
            ("400 Bad Request", "ExpiredToken", Kind::Denied, "see the credentials"),
            ("400 Bad Request", "AuthorizationHeaderMalformed", Kind::Usage, "see the address"),
            ("404 Not Found", "NoSuchBucket", Kind::NotFound, "correct bucket"),
            ("404 Not Found", "NoSuchKey", Kind::NotFound, "longshore list"),
            ("412 Precondition Failed", "PreconditionFailed", Kind::AlreadyExists, "prefix"),
            ("503 Service Unavailable", "SlowDown", Kind::Unavailable, "later"),
            ("409 Conflict", "BlobImmutableDueToPolicy", Kind::Refused, "keeps it"),
            ("400 Bad Request", "BadDigest", Kind::Unavailable, "on the way"),
        ] {
            let error = response(status, code);
            assert_eq!(error.kind(), kind, "{code}");
            assert!(error.remedy().unwrap().contains(hint), "{code}: {:?}", error.remedy());
            let cause = format!(": the store answered {} {code}: So it is.", &status[..3]);
            assert!(error.chain().ends_with(&cause), "{}", error.chain());
        }
    }

    #[test]
    fn converts_empty_responses() {
        let error = converted(format!("{RESPONSE_PREFIX}403 Forbidden: "));
        assert_eq!(error.kind(), Kind::Denied);
        assert!(error.chain().ends_with("the store answered 403"), "{}", error.chain());
    }

    #[test]
    fn reports_missing_credentials() {
        let error = converted("error sending request for url (http://169.254.169.254/latest/api/token)".into());
        assert_eq!(error.kind(), Kind::Denied);
        assert!(error.to_string().contains("no credentials were found"), "{error}");
    }
}
